-- Who may play a stream: everybody, or those who hold a playback token.
alter table origin.streams
  add column access text not null default 'public' check (access in ('public', 'token'));
