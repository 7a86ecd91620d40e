//go:build !linux

package main

type tortureCommands struct{}
