# make test is the one command: it installs what a fresh Debian lacks, starts what the tests need
# and runs everything, in continuous integration as on a developer's machine. What compares costs
# runs last and alone.

SHELL := /bin/bash

.PHONY: test lint install bench run

test: install lint
	scripts/with-servers env POSTERN_TEST_ALL=1 go test -race -timeout 14m ./...
	scripts/with-servers env POSTERN_TEST_TIMING=1 go test -p 1 -run Cost ./idp ./cmd/postern

# lint says nothing where all is well, but where the database of vulnerabilities is out of reach.
lint:
	scripts/lint

install:
	scripts/install

# bench prints what a request costs, with allocations, on SQLite, PostgreSQL and Redis.
bench: install
	POSTGRES_FSYNC=on scripts/with-servers go test -p 1 -run '^$$' -bench . -benchmem ./...

run:
	go run ./cmd/postern demo
