-- One row: the counters of the registry and the end of the audit chain. Whoever changes anything locks it first, so that
-- changes are made one after the other and their numbers have no gaps.
create table steering.registry (
  only_row boolean primary key default true check (only_row),
  generation bigint not null default 0,  -- grows with every change of a CDN
  revision bigint not null default 0,    -- grows with every change of anything that nodes keep in memory
  audit_seq bigint not null default 0,
  audit_hash text not null default ''
);
insert into steering.registry default values;

create table steering.cdns (
  name text primary key,
  config jsonb not null,
  generation bigint not null,
  added_generation bigint not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- Changes that are to be made later: ordered for a time, or taking back an earlier one.
create table steering.changes (
  id uuid primary key,
  kind text not null check (kind in ('scheduled', 'revert')),
  cdn text not null,
  due_at timestamptz not null,
  patch jsonb not null,
  expected jsonb,          -- revert: what the fields must still be
  revert_after_s integer,  -- scheduled: how long the change is to last
  actor text not null,
  role text not null,
  reason text not null,
  state text not null default 'pending' check (state in ('pending', 'done', 'cancelled', 'failed', 'superseded')),
  outcome text not null default '',
  created_at timestamptz not null default now(),
  finished_at timestamptz
);
create index changes_pending on steering.changes (due_at) where state = 'pending';

-- Who did what, when and why. `entry` is the exact text that the hash is made over.
create table steering.audit (
  seq bigint primary key,
  at timestamptz not null,
  cdn text,
  entry text not null,
  previous_hash text not null,
  hash text not null
);
create index audit_by_cdn on steering.audit (cdn, seq);

create function steering.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit can only be added to';
end
$$;
create trigger audit_append_only before update or delete on steering.audit
  for each row execute function steering.refuse_change();
create trigger audit_not_emptied before truncate on steering.audit
  for each statement execute function steering.refuse_change();

-- Bearer tokens by the SHA-256 of their text.
create table steering.access_tokens (
  id uuid primary key,
  name text not null,
  role text not null check (role in ('viewer', 'operator', 'admin')),
  hash text not null unique,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);

-- Results of requests that carried an Idempotency-Key; null while the request is being carried out.
create table steering.idempotency_keys (
  actor text not null,
  key text not null,
  fingerprint text not null,
  result jsonb,
  created_at timestamptz not null default now(),
  primary key (actor, key)
);
create index idempotency_keys_oldest_first on steering.idempotency_keys (created_at);
