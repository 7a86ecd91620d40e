package api_test

import "github.com/behalf-dev/behalf/internal/store"

var storePage = store.Page{}
