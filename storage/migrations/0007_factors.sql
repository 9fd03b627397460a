-- +goose Up

ALTER TABLE users ADD COLUMN factors TEXT NOT NULL DEFAULT '[]'; -- JSON array of strings
ALTER TABLE sessions ADD COLUMN trusted BOOLEAN NOT NULL DEFAULT FALSE;
-- What was otp was a mailed code: by the name of today sessions rest on it still.
UPDATE sessions
SET methods = REPLACE(methods, '{"m":"otp",', '{"m":"mail",')
WHERE methods LIKE '%{"m":"otp",%';

-- Kinds beside the password are totp, webauthn and recovery_codes; their secret and scheme are ''.
ALTER TABLE authenticators ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE authenticators ADD COLUMN sealed BYTEA;
ALTER TABLE authenticators ADD COLUMN counter BIGINT NOT NULL DEFAULT 0;
ALTER TABLE authenticators ADD COLUMN credential BYTEA;
ALTER TABLE authenticators ADD COLUMN passkey TEXT; -- JSON object
ALTER TABLE authenticators ADD COLUMN setup BYTEA; -- the session in which it is set up, NULL once it is
ALTER TABLE authenticators ADD COLUMN disabled_at TIMESTAMP(6);
CREATE UNIQUE INDEX authenticators_credential ON authenticators (credential) WHERE credential IS NOT NULL;
CREATE UNIQUE INDEX authenticators_totp ON authenticators (user_id) WHERE kind = 'totp' AND setup IS NULL;
CREATE UNIQUE INDEX authenticators_setup ON authenticators (user_id, setup) WHERE setup IS NOT NULL;
CREATE UNIQUE INDEX authenticators_recovery ON authenticators (user_id) WHERE kind = 'recovery_codes';

CREATE TABLE recovery_codes (
    id               BYTEA        PRIMARY KEY,
    authenticator_id BYTEA        NOT NULL REFERENCES authenticators (id) ON DELETE CASCADE,
    user_id          BYTEA        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash             BYTEA        NOT NULL, -- keyed
    used_at          TIMESTAMP(6),
    used_by          BYTEA
);
CREATE INDEX recovery_codes_authenticator ON recovery_codes (authenticator_id);
CREATE INDEX recovery_codes_user ON recovery_codes (user_id);

ALTER TABLE devices ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN trusted_until TIMESTAMP(6);
ALTER TABLE devices ADD COLUMN offered_at TIMESTAMP(6);

-- +goose Down
ALTER TABLE devices DROP COLUMN offered_at;
ALTER TABLE devices DROP COLUMN trusted_until;
ALTER TABLE devices DROP COLUMN user_agent;
ALTER TABLE devices DROP COLUMN address;
DROP TABLE recovery_codes;

DELETE FROM authenticators WHERE kind <> 'password';
DROP INDEX authenticators_recovery;
DROP INDEX authenticators_setup;
DROP INDEX authenticators_totp;
DROP INDEX authenticators_credential;
ALTER TABLE authenticators DROP COLUMN disabled_at;
ALTER TABLE authenticators DROP COLUMN setup;
ALTER TABLE authenticators DROP COLUMN passkey;
ALTER TABLE authenticators DROP COLUMN credential;
ALTER TABLE authenticators DROP COLUMN counter;
ALTER TABLE authenticators DROP COLUMN sealed;
ALTER TABLE authenticators DROP COLUMN name;
UPDATE sessions
SET methods = REPLACE(methods, '{"m":"mail",', '{"m":"otp",')
WHERE methods LIKE '%{"m":"mail",%';
ALTER TABLE sessions DROP COLUMN trusted;
ALTER TABLE users DROP COLUMN factors;
