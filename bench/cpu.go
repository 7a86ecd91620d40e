package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// This file reads how much processor time was taken. On a machine that others
// use, too, that tells more than a rate: it is the same whoever waits. It is what
// a rate is made of where nothing waits for a disk.

// tick is the unit in which the kernel counts (proc(5), utime).
const tick = 10 * time.Millisecond

// stat is a line of /proc/…/stat.
type stat struct {
	parent int
	cpu    time.Duration
}

func readStat(path string) (s stat, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:])) // the name before it may hold spaces
	if len(fields) < 13 {
		return s, fmt.Errorf("%s has too few fields", path)
	}
	for _, n := range fields[11:13] { // in user mode and in the kernel
		ticks, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			return s, err
		}
		s.cpu += time.Duration(ticks) * tick
	}
	s.parent, err = strconv.Atoi(fields[1])
	return s, err
}

// cpu returns the processor time that the process has taken.
func (p *process) cpu() (time.Duration, error) {
	s, err := readStat(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	return s.cpu, err
}

// everybody returns the processor time that we and all whom we started have
// taken.
func everybody() (total time.Duration) {
	names, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	all := map[int]stat{}
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if s, err := readStat(name); err == nil { // it may have ended
			all[pid] = s
		}
	}
	for pid, s := range all {
		if descends(all, pid, os.Getpid()) {
			total += s.cpu
		}
	}
	return total
}

func descends(all map[int]stat, pid, from int) bool {
	for ; pid > 1; pid = all[pid].parent {
		if pid == from {
			return true
		}
	}
	return false
}
