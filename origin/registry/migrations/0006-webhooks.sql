-- Where a tenant is told of what happens to its streams.
create table origin.webhooks (
  id text primary key,
  tenant_id text not null references origin.tenants (id) on delete cascade,
  url text not null check (char_length(url) <= 2048),
  events jsonb not null,
  enabled boolean not null,
  -- Sealed, because requests are signed with it.
  sealed_secret bytea not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index webhooks_newest_first on origin.webhooks (tenant_id, created_at desc, id desc);

create table origin.webhook_events (
  id text primary key,
  seq bigint generated always as identity,
  tenant_id text not null,
  type text not null,
  stream_id text not null,
  at timestamptz not null,
  -- What makes it the one event that it is: several origins may see the same thing, or one twice.
  occurrence text not null unique,
  -- The origin that has seen it last, and how often that has changed.
  origin text not null,
  moves integer not null default 0,
  data jsonb not null
);
create index webhook_events_by_age on origin.webhook_events (at);
create index webhook_events_of_stream on origin.webhook_events (stream_id, seq desc);

-- Times are those of this database: several origins go by them.
create table origin.webhook_deliveries (
  id bigint generated always as identity primary key,
  webhook_id text not null references origin.webhooks (id) on delete cascade,
  event_id text not null references origin.webhook_events (id) on delete cascade,
  state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0,
  next_at timestamptz not null default clock_timestamp(),
  last_at timestamptz,
  last_status integer,
  last_error text,
  unique (webhook_id, event_id)
);
create index webhook_deliveries_due on origin.webhook_deliveries (next_at) where state = 'pending';
create index webhook_deliveries_of_webhook on origin.webhook_deliveries (webhook_id, id desc);
create index webhook_deliveries_of_event on origin.webhook_deliveries (event_id);

create index recordings_ended on origin.recordings (ended_at) where ended_at is not null;
