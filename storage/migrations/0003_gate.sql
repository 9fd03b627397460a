-- +goose Up

-- Counters of the former shape were windows of minutes; to forget them harms nobody.
DROP TABLE counters;
CREATE TABLE counters (
    key      BYTEA        PRIMARY KEY,
    stamp    BIGINT       NOT NULL, -- random at first, raised by every write
    used     BIGINT       NOT NULL,
    times    TEXT         NOT NULL, -- JSON array of microseconds since 1970
    locked   TIMESTAMP(6),
    capacity BIGINT       NOT NULL,
    kind     TEXT         NOT NULL,
    lock     BOOLEAN      NOT NULL,
    account  TEXT         NOT NULL, -- '' for none
    network  TEXT         NOT NULL, -- CIDR, '' for none
    dead_at  TIMESTAMP(6) NOT NULL
);

CREATE TABLE devices (
    user_id    BYTEA        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash       BYTEA        NOT NULL,
    epoch      BIGINT       NOT NULL,
    created_at TIMESTAMP(6) NOT NULL,
    seen_at    TIMESTAMP(6) NOT NULL,
    dead_at    TIMESTAMP(6) NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- An attempt references nothing: it outlives its user and its client.
CREATE TABLE attempts (
    id         BYTEA        PRIMARY KEY,
    at         TIMESTAMP(6) NOT NULL,
    bucket     TEXT         NOT NULL,
    kind       TEXT         NOT NULL,
    user_id    BYTEA,
    name       TEXT         NOT NULL,
    address    TEXT         NOT NULL,
    user_agent TEXT         NOT NULL,
    path       TEXT         NOT NULL,
    parameters TEXT         NOT NULL, -- form-encoded, masked
    client_id  TEXT         NOT NULL,
    request_id TEXT         NOT NULL,
    why        TEXT         NOT NULL
);
CREATE INDEX attempts_bucket ON attempts (bucket, id);

CREATE TABLE blocks (
    network    TEXT         PRIMARY KEY, -- CIDR
    why        TEXT         NOT NULL, -- honeypot, admin
    until      TIMESTAMP(6) NOT NULL,
    created_at TIMESTAMP(6) NOT NULL
);

CREATE TABLE jobs (
    id           BYTEA        PRIMARY KEY,
    kind         TEXT         NOT NULL, -- mail, honeypot_digest
    name         TEXT         NOT NULL, -- '' for any number
    payload      BYTEA        NOT NULL, -- sealed
    run_at       TIMESTAMP(6) NOT NULL,
    tries        BIGINT       NOT NULL,
    locked_until TIMESTAMP(6),
    last_error   TEXT         NOT NULL,
    created_at   TIMESTAMP(6) NOT NULL,
    dead_at      TIMESTAMP(6) NOT NULL
);
CREATE UNIQUE INDEX jobs_name ON jobs (name) WHERE name <> '';
CREATE INDEX jobs_run ON jobs (run_at);

ALTER TABLE sessions ADD COLUMN client_id TEXT NOT NULL DEFAULT ''; -- '' for none
CREATE INDEX users_admin ON users (id) WHERE admin;

-- +goose Down
DROP INDEX users_admin;
ALTER TABLE sessions DROP COLUMN client_id;
DROP TABLE jobs;
DROP TABLE blocks;
DROP TABLE attempts;
DROP TABLE devices;
DROP TABLE counters;
CREATE TABLE counters (
    key     BYTEA        PRIMARY KEY,
    used    BIGINT       NOT NULL,
    dead_at TIMESTAMP(6) NOT NULL
);
