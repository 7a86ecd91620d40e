-- Connectors: ways into private networks, the agents that have enrolled for
-- them, and which node has a tunnel of which agent.

-- +goose Up
CREATE TABLE connectors (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    enabled    BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL -- when an agent was last attached; 0: never
);

CREATE TABLE connector_tokens (
    hash       BYTEA PRIMARY KEY,
    connector  TEXT NOT NULL REFERENCES connectors (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE connector_agents (
    id         TEXT PRIMARY KEY,
    connector  TEXT NOT NULL REFERENCES connectors (id),
    public_key BYTEA NOT NULL,
    hostname   TEXT NOT NULL,
    version    TEXT NOT NULL,
    system     TEXT NOT NULL,
    address    TEXT NOT NULL,
    published  TEXT NOT NULL, -- JSON, as the agent has signed it
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);
CREATE INDEX connector_agents_connector ON connector_agents (connector, id);

CREATE TABLE tunnels (
    id        TEXT PRIMARY KEY,
    connector TEXT NOT NULL,
    agent     TEXT NOT NULL,
    node      TEXT NOT NULL,
    opened_at BIGINT NOT NULL
);
CREATE INDEX tunnels_connector ON tunnels (connector);

CREATE TABLE connector_traffic (
    connector TEXT NOT NULL,
    at        BIGINT NOT NULL, -- the minute's beginning
    calls     BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    bytes_in  BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    PRIMARY KEY (connector, at)
);

-- +goose Down
DROP TABLE connector_traffic;
DROP TABLE tunnels;
DROP TABLE connector_agents;
DROP TABLE connector_tokens;
DROP TABLE connectors;
