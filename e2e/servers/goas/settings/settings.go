// Package settings reads what the test servers of this module are told by the
// package that starts them.
package settings

import (
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

// Settings are the same for every server; the environment variables are those
// that servers.go of the parent directory sets.
type Settings struct {
	Addr         string // host and port to listen on
	RedirectURIs []string
	TokenTTL     time.Duration
	ClientSecret string // of the clients "basic" and "post"
	Users        []string
	Password     string // of every user
}

// FromEnvironment ends the program when a setting is missing or malformed.
func FromEnvironment() Settings {
	seconds, err := strconv.Atoi(get("TOKEN_TTL"))
	if err != nil {
		log.Fatal("TOKEN_TTL is not a number of seconds")
	}
	return Settings{
		Addr:         "127.0.0.1:" + get("PORT"),
		RedirectURIs: strings.Fields(get("REDIRECT_URIS")),
		TokenTTL:     time.Duration(seconds) * time.Second,
		ClientSecret: get("CLIENT_SECRET"),
		Users:        strings.Fields(get("USERS")),
		Password:     get("PASSWORD"),
	}
}

func get(name string) string {
	value := os.Getenv(name)
	if value == "" {
		log.Fatal(name + " is not set")
	}
	return value
}
