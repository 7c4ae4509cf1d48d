-- Who streams belong to. What is null follows the server's own limits.
create table origin.tenants (
  id text primary key check (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name text not null check (char_length(name) between 1 and 120),
  streams_max integer check (streams_max >= 0),
  live_max integer check (live_max >= 0),
  created_at timestamptz not null,
  updated_at timestamptz not null
);
insert into origin.tenants (id, name, created_at, updated_at) values ('default', 'default', now(), now());
alter table origin.streams add constraint streams_tenant foreign key (tenant_id) references origin.tenants (id);
create index publish_sessions_open_of_tenant on origin.publish_sessions (tenant_id) where ended_at is null;

-- A key of the API is never stored, only its HMAC under the pepper.
create table origin.api_keys (
  id text primary key,
  tenant_id text not null references origin.tenants (id) on delete cascade,
  name text not null check (char_length(name) between 1 and 120),
  digest bytea not null check (octet_length(digest) = 32),
  scopes jsonb not null,
  created_at timestamptz not null,
  not_after timestamptz,
  last_used_at timestamptz
);
create index api_keys_newest_first on origin.api_keys (tenant_id, created_at desc, id desc);

-- The audit tells of more than streams: `subject` names what else was changed, as `api_key:{id}`.
alter table origin.audit alter column stream_id drop not null, add column subject text;
