# `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STATICCHECK := go tool -modfile=tools/lint/go.mod staticcheck

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install what the tests need: Debian packages, npm packages, Go modules
	@script/deps

.PHONY: build
build: ## Build ./behalf, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o behalf ./cmd/behalf

.PHONY: cross
cross: ## Build for every system that an agent runs on, into dist/
	@mkdir -p dist
	@for system in linux darwin windows; do for machine in amd64 arm64; do \
		end=; [ $$system = windows ] && end=.exe; echo dist/behalf-$$system-$$machine$$end; \
		CGO_ENABLED=0 GOOS=$$system GOARCH=$$machine go build -trimpath -ldflags "-s -w" -o dist/behalf-$$system-$$machine$$end ./cmd/behalf || exit 1; \
	done; done

.PHONY: test
test: deps ## Install what is needed and run every test
	@$(MAKE) --no-print-directory race

# SQLite is C that was translated to Go: one goroutine at a time by its own
# locks, and four times as slow when each of its loads and stores is watched.
UNWATCHED := -gcflags=modernc.org/...=-race=false

.PHONY: race
race: ## Run every test under the race detector
	CGO_ENABLED=1 go test -race $(UNWATCHED) -count=1 -timeout=45m ./...

.PHONY: test-short
test-short: ## Run the tests that need no other process
	go test -short ./...

.PHONY: e2e
e2e: ## Run the end-to-end tests; screenshots are kept below e2e/out
	mkdir -p e2e/out
	go test -count=1 -timeout=15m -artifacts -outputdir=e2e/out ./e2e/...

# The tests that look at every page.
PICTURES := ^(TestScreenshots|TestAnAssistantLooksLikeItselfToPeople|TestEveryPageOfTheJourneyIsFitToBeSeen|TestEveryPageIsFitForEverybody)$$

.PHONY: screenshots
screenshots: ## Take pictures of every page, of the console and of connecting, below e2e/out
	mkdir -p e2e/out
	go test -count=1 -timeout=30m -run '$(PICTURES)' -artifacts -outputdir=e2e/out ./e2e ./e2e/console ./internal/connect
	@find e2e/out -name '*.png' | wc -l | xargs echo "pictures below e2e/out:"

.PHONY: lint
lint: ## Check format, vet, staticcheck, module files and generated code
	@unformatted=$$(gofmt -l .); \
	if [[ -n $$unformatted ]]; then \
		echo "gofmt -w these:" $$unformatted; exit 1; \
	fi
	go vet ./...
	go -C e2e/servers/goas vet ./...
	$(STATICCHECK) ./...
	go mod tidy -diff
	go -C e2e/servers/goas mod tidy -diff
	script/generate --check

.PHONY: vuln
vuln: ## Look for known vulnerabilities, where their database can be reached
	script/vuln

.PHONY: generate
generate: ## Write what sqlc and templ generate
	script/generate

.PHONY: bench
bench: ## Measure token reads, proxied calls and refreshes against their limits (BENCH=-quick)
	go run ./bench $(BENCH)

.PHONY: clean
clean: ## Remove what building and testing have left
	rm -rf behalf e2e/out e2e/servers/bin e2e/servers/node_modules
