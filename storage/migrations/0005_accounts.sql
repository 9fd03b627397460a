-- +goose Up

ALTER TABLE users ADD COLUMN must_change_password BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN locale TEXT NOT NULL DEFAULT ''; -- BCP 47, '' for the browser's
ALTER TABLE users ADD COLUMN delete_at TIMESTAMP(6);
CREATE INDEX users_delete ON users (delete_at) WHERE delete_at IS NOT NULL;

-- Several may claim an address that is verified as nobody's.
DROP INDEX users_email_key;
CREATE INDEX users_email_key ON users (email_key) WHERE email_key <> '';

CREATE TABLE emails (
    id          BYTEA        PRIMARY KEY,
    user_id     BYTEA        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    address     TEXT         NOT NULL,
    key         TEXT         NOT NULL,
    is_primary  BOOLEAN      NOT NULL, -- users has it, too
    verified_at TIMESTAMP(6),
    created_at  TIMESTAMP(6) NOT NULL
);
CREATE UNIQUE INDEX emails_user ON emails (user_id, key);
CREATE UNIQUE INDEX emails_verified ON emails (key) WHERE verified_at IS NOT NULL;
CREATE UNIQUE INDEX emails_primary ON emails (user_id) WHERE is_primary;
CREATE INDEX emails_key ON emails (key);

-- Each user has one address so far, which their own id can stand for.
INSERT INTO emails (id, user_id, address, key, is_primary, verified_at, created_at)
SELECT id, id, email, email_key, TRUE, CASE WHEN email_verified THEN created_at END, created_at
FROM users
WHERE email_key <> '';

-- A ticket references nothing: one of nobody costs what one of somebody costs. Whoever deletes a
-- user deletes their tickets, and a code is tried against the user's epoch.
CREATE TABLE tickets (
    id          BYTEA        PRIMARY KEY,
    purpose     TEXT         NOT NULL,
    user_id     BYTEA, -- NULL for a decoy
    owner       BYTEA        NOT NULL, -- the user, or a hash that stands for one in a decoy
    scope       TEXT, -- of which the owner's newest replaces the others: an address or ''; NULL for none
    epoch       BIGINT       NOT NULL,
    address     TEXT         NOT NULL,
    code_hash   BYTEA,
    link_hash   BYTEA,
    browser     BYTEA,
    tries       BIGINT       NOT NULL,
    max_tries   BIGINT       NOT NULL,
    payload     BYTEA, -- sealed
    created_at  TIMESTAMP(6) NOT NULL,
    expires_at  TIMESTAMP(6) NOT NULL,
    redeemed_at TIMESTAMP(6),
    redeemed_by BYTEA,
    dead_at     TIMESTAMP(6) NOT NULL
);
CREATE UNIQUE INDEX tickets_owner ON tickets (owner, purpose, scope);

CREATE TABLE invites (
    id          BYTEA        PRIMARY KEY,
    hash        BYTEA        NOT NULL UNIQUE,
    email       TEXT         NOT NULL, -- '' for anybody
    email_key   TEXT         NOT NULL,
    groups      TEXT         NOT NULL, -- JSON array of strings
    admin       BOOLEAN      NOT NULL,
    made_by     TEXT         NOT NULL,
    created_at  TIMESTAMP(6) NOT NULL,
    expires_at  TIMESTAMP(6) NOT NULL,
    revoked_at  TIMESTAMP(6),
    redeemed_at TIMESTAMP(6),
    redeemed_by BYTEA,
    user_id     BYTEA,
    dead_at     TIMESTAMP(6) NOT NULL
);

CREATE INDEX events_user ON events (user_id, id) WHERE user_id IS NOT NULL;

-- +goose Down
DROP INDEX events_user;
DROP TABLE invites;
DROP TABLE tickets;
DROP TABLE emails;

-- One user keeps an address that several claim: whose it is, else the first.
DROP INDEX users_email_key;
UPDATE users
SET email = '', email_key = ''
WHERE email_key <> '' AND NOT email_verified AND EXISTS (
    SELECT 1 FROM users o
    WHERE o.email_key = users.email_key AND (o.email_verified OR o.id < users.id));
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE email_key <> '';

DROP INDEX users_delete;
ALTER TABLE users DROP COLUMN delete_at;
ALTER TABLE users DROP COLUMN locale;
ALTER TABLE users DROP COLUMN must_change_password;
