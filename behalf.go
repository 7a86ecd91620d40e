// Package behalf says what an assistant may do on whose behalf.
//
// It is the vocabulary of the whole server and the rules that belong to the
// words: an Assistant has authorization Profiles; an end user takes one
// ConnectSession and thereby gets a Connection, whose Credential the assistant
// calls with. Every decision here is a pure function of values, with the time
// passed in; what is kept, sent or shown is the work of the packages above.
package behalf
