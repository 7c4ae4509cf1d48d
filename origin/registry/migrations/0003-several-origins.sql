-- Several origins share the sessions: which of them a session's ingest talks to, and when that one last said by the
-- clock of this database that the session is alive. Both are null where a single origin has no need of them.
alter table origin.publish_sessions add column home text, add column alive_at timestamptz;
