-- How far back a running stream can be watched, and how long an ended one; seconds, 0 for not at all.
alter table origin.streams
  add column dvr_window_s integer not null default 7200 check (dvr_window_s between 0 and 86400),
  add column retention_s integer not null default 604800 check (retention_s between 0 and 31536000);

-- One life of playlists, known by the media sequence number of its first segment. Outlives its stream until its objects
-- are deleted.
create table origin.recordings (
  stream_id text not null,
  id bigint not null,
  began_at timestamptz not null,
  ended_at timestamptz,
  -- From when on its objects are to be deleted; null while it goes on.
  expires_at timestamptz,
  dvr_window_ms bigint not null,
  retention_ms bigint not null,
  -- What another process needs to go on with it, and what its multivariant playlist says.
  state jsonb not null,
  primary key (stream_id, id)
);
create index recordings_expiring on origin.recordings (expires_at) where expires_at is not null;
create index recordings_open on origin.recordings (stream_id) where ended_at is null;

-- The index: what a playlist says of 32 segments of one rendition. A row is written again while it fills.
create table origin.recording_pages (
  stream_id text not null,
  recording_id bigint not null,
  rendition_id text not null,
  page bigint not null,
  -- When its newest segment ended on the wall clock of the media.
  until_at timestamptz not null,
  entries jsonb not null,
  primary key (stream_id, recording_id, rendition_id, page),
  foreign key (stream_id, recording_id) references origin.recordings (stream_id, id) on delete cascade
);
