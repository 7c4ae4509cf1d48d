-- Times come from the program's clock (milliseconds), so that what is stored is what was answered.

create table origin.streams (
  id text primary key check (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  tenant_id text not null,
  name text not null check (char_length(name) between 1 and 120),
  ladder jsonb not null,
  segment_duration_ms integer not null check (segment_duration_ms between 1000 and 6000),
  part_duration_ms integer not null check (part_duration_ms between 200 and 1000),
  reconnect_window_s integer not null check (reconnect_window_s between 0 and 1800),
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index streams_newest_first on origin.streams (tenant_id, created_at desc, id desc);

-- A key is never stored, only its HMAC under a pepper that is not in the database.
create table origin.stream_keys (
  id text primary key,
  stream_id text not null references origin.streams (id) on delete cascade,
  digest bytea not null check (octet_length(digest) = 32),
  created_at timestamptz not null,
  not_after timestamptz
);
create index stream_keys_of_stream on origin.stream_keys (stream_id);

-- Tokens grow over all streams, which makes them grow for each.
create sequence origin.fencing_tokens as bigint;

-- Outlives its stream: a stream made again under the same id must go on with larger media sequence numbers.
create table origin.publish_sessions (
  id uuid primary key,
  stream_id text not null,
  tenant_id text not null,
  key_id text not null,
  fencing_token bigint not null unique default nextval('origin.fencing_tokens'),
  remote_address text not null,
  started_at timestamptz not null,
  anchor_at timestamptz,
  first_msn bigint,
  last_msn bigint,
  ended_at timestamptz,
  end_reason text
);
create index publish_sessions_of_stream on origin.publish_sessions (stream_id);
create index publish_sessions_open on origin.publish_sessions (stream_id) where ended_at is null;

-- Answers of POST requests that carried an Idempotency-Key; sealed, because some hold a stream key.
create table origin.idempotency_keys (
  tenant_id text not null,
  key text not null,
  fingerprint bytea not null,
  sealed_result bytea,
  created_at timestamptz not null,
  primary key (tenant_id, key)
);
create index idempotency_keys_by_age on origin.idempotency_keys (created_at);

create table origin.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null,
  tenant_id text not null,
  actor text not null,
  action text not null,
  stream_id text not null,
  request_id text not null,
  before jsonb,
  after jsonb
);
create index audit_newest_first on origin.audit (tenant_id, id desc);
create index audit_of_stream on origin.audit (stream_id, id desc);

-- One row: tells whether the pepper at hand is the one that the stored digests were made with.
create table origin.pepper_check (
  single boolean primary key default true check (single),
  digest bytea not null
);
