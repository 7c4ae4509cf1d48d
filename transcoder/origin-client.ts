import type {
  EndRequest,
  Heartbeat,
  PublishGrant,
  PublishRequest,
} from '#protocol/ingest/publish-session.ts';

/** Where the origin is and how long an answer may take. */
export type OriginClientSettings = {
  /** `http://host:port`. */
  readonly originUrl: string;
  readonly ingestToken: string;
};

/**
 * The publish-session calls of an origin, as the ingest makes them. Every call ends by its deadline.
 */
export type OriginClient = {
  /** Asks whether a stream key may publish. */
  authorise(request: PublishRequest, signal?: AbortSignal): Promise<PublishGrant>;
  /** Says that the broadcaster of a session is alive. */
  heartbeat(sessionId: string, heartbeat: Heartbeat, signal?: AbortSignal): Promise<void>;
  /** Says that the broadcaster of a session has gone. */
  end(streamId: string, request: EndRequest, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
};
