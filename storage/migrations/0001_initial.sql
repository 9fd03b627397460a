-- +goose Up

-- Every id is a UUID's 16 bytes. Times are UTC, cut to the microsecond; TIMESTAMP(6) is what both
-- databases know. Lists and objects are JSON in TEXT, and say so.

CREATE TABLE users (
    id             BYTEA        PRIMARY KEY,
    username       TEXT         NOT NULL,
    username_key   TEXT         NOT NULL UNIQUE,
    email          TEXT         NOT NULL, -- '' for none
    email_key      TEXT         NOT NULL,
    email_verified BOOLEAN      NOT NULL,
    profile        TEXT         NOT NULL, -- JSON object
    groups         TEXT         NOT NULL, -- JSON array of strings
    admin          BOOLEAN      NOT NULL,
    status         TEXT         NOT NULL, -- active, disabled
    epoch          BIGINT       NOT NULL,
    created_at     TIMESTAMP(6) NOT NULL,
    updated_at     TIMESTAMP(6) NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE email_key <> '';

CREATE TABLE authenticators (
    id           BYTEA        PRIMARY KEY,
    user_id      BYTEA        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind         TEXT         NOT NULL, -- password
    secret       TEXT         NOT NULL, -- PHC string
    scheme       TEXT         NOT NULL, -- the part of secret before the salt
    created_at   TIMESTAMP(6) NOT NULL,
    last_used_at TIMESTAMP(6)
);
CREATE INDEX authenticators_user ON authenticators (user_id);
CREATE UNIQUE INDEX authenticators_password ON authenticators (user_id) WHERE kind = 'password';

CREATE TABLE sessions (
    id             BYTEA        PRIMARY KEY,
    secret_hash    BYTEA        NOT NULL,
    user_id        BYTEA        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    epoch          BIGINT       NOT NULL,
    state          TEXT         NOT NULL, -- live, pending
    authentication BYTEA        NOT NULL,
    methods        TEXT         NOT NULL, -- JSON array of objects
    address        TEXT         NOT NULL,
    user_agent     TEXT         NOT NULL,
    remembered     BOOLEAN      NOT NULL,
    created_at     TIMESTAMP(6) NOT NULL,
    last_seen_at   TIMESTAMP(6) NOT NULL,
    idle_at        TIMESTAMP(6) NOT NULL,
    ends_at        TIMESTAMP(6) NOT NULL,
    ended_at       TIMESTAMP(6),
    ended_why      TEXT         NOT NULL,
    dead_at        TIMESTAMP(6) NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id, id);

CREATE TABLE clients (
    id               TEXT         PRIMARY KEY,
    metadata         TEXT         NOT NULL, -- JSON object, RFC 7591 names
    secrets          TEXT         NOT NULL, -- JSON array of objects
    security_version BIGINT       NOT NULL,
    disabled_at      TIMESTAMP(6),
    created_at       TIMESTAMP(6) NOT NULL,
    updated_at       TIMESTAMP(6) NOT NULL
);

CREATE TABLE consents (
    user_id    BYTEA        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id  TEXT         NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    scopes     TEXT         NOT NULL, -- JSON array of strings
    claims     TEXT         NOT NULL, -- JSON array of strings
    version    BIGINT       NOT NULL,
    floor      BIGINT       NOT NULL,
    created_at TIMESTAMP(6) NOT NULL,
    updated_at TIMESTAMP(6) NOT NULL,
    PRIMARY KEY (user_id, client_id)
);
CREATE INDEX consents_client ON consents (client_id);

-- A grant references nothing: a foreign key would lock the rows of its user and client at each
-- authorization. Whoever deletes those deletes their grants, and every load joins users.
CREATE TABLE grants (
    id              BYTEA        PRIMARY KEY,
    client_id       TEXT         NOT NULL,
    user_id         BYTEA        NOT NULL,
    session_id      BYTEA,
    session_bound   BOOLEAN      NOT NULL,
    scopes          TEXT         NOT NULL, -- JSON array of strings
    audience        TEXT         NOT NULL, -- JSON array of strings
    facts           TEXT         NOT NULL, -- JSON array of strings, by position
    confirmation    TEXT         NOT NULL,
    epoch           BIGINT       NOT NULL,
    consent_version BIGINT       NOT NULL,
    code_hash       BYTEA,
    code_expires_at TIMESTAMP(6) NOT NULL,
    code_used_at    TIMESTAMP(6),
    code_used_by    BYTEA,
    rt_gen          BIGINT       NOT NULL,
    rt_parent       BIGINT       NOT NULL,
    rt_recent       TEXT         NOT NULL, -- JSON array of objects
    rt_key          BIGINT       NOT NULL,
    rt_expires_at   TIMESTAMP(6),
    rt_rotated_at   TIMESTAMP(6),
    rt_rotated_by   BYTEA,
    deed_nonce      BYTEA,
    created_at      TIMESTAMP(6) NOT NULL,
    revoked_at      TIMESTAMP(6),
    revoked_why     TEXT         NOT NULL,
    dead_at         TIMESTAMP(6) NOT NULL
);
CREATE INDEX grants_user ON grants (user_id);
CREATE UNIQUE INDEX grants_deed_nonce ON grants (deed_nonce) WHERE deed_nonce IS NOT NULL;

CREATE TABLE denied (
    key     BYTEA        PRIMARY KEY,
    dead_at TIMESTAMP(6) NOT NULL
);

CREATE TABLE pushed (
    id         BYTEA        PRIMARY KEY,
    client_id  TEXT         NOT NULL,
    request    TEXT         NOT NULL, -- form-encoded
    internal   BOOLEAN      NOT NULL,
    created_at TIMESTAMP(6) NOT NULL,
    expires_at TIMESTAMP(6) NOT NULL,
    used_at    TIMESTAMP(6),
    used_by    BYTEA
);

CREATE TABLE keys (
    id         TEXT         PRIMARY KEY,
    alg        TEXT         NOT NULL,
    state      TEXT         NOT NULL, -- announced, active, retired
    public     TEXT         NOT NULL, -- JSON Web Key
    private    BYTEA        NOT NULL, -- sealed
    created_at TIMESTAMP(6) NOT NULL,
    active_at  TIMESTAMP(6),
    retired_at TIMESTAMP(6)
);

CREATE TABLE versions (
    name    TEXT   PRIMARY KEY,
    version BIGINT NOT NULL
);

CREATE TABLE key_checks (
    name  TEXT  PRIMARY KEY, -- keyring
    value BYTEA NOT NULL
);

CREATE TABLE events (
    id         BYTEA        PRIMARY KEY,
    at         TIMESTAMP(6) NOT NULL,
    kind       TEXT         NOT NULL,
    actor      TEXT         NOT NULL,
    user_id    BYTEA,
    client_id  TEXT         NOT NULL,
    session_id BYTEA,
    address    TEXT         NOT NULL,
    request_id TEXT         NOT NULL,
    details    TEXT         NOT NULL, -- JSON object
    sequence   BIGINT, -- both are given after the commit
    hash       BYTEA
);

CREATE TABLE counters (
    key     BYTEA        PRIMARY KEY,
    used    BIGINT       NOT NULL,
    dead_at TIMESTAMP(6) NOT NULL
);

CREATE TABLE sweeps (
    name       TEXT         PRIMARY KEY, -- of the table that is swept
    reached    BYTEA, -- the last key that was looked at, NULL at the start
    started_at TIMESTAMP(6) NOT NULL
);

-- +goose Down
DROP TABLE sweeps;
DROP TABLE counters;
DROP TABLE events;
DROP TABLE key_checks;
DROP TABLE versions;
DROP TABLE keys;
DROP TABLE pushed;
DROP TABLE denied;
DROP TABLE grants;
DROP TABLE consents;
DROP TABLE clients;
DROP TABLE sessions;
DROP TABLE authenticators;
DROP TABLE users;
