/** What a local CDN is to do. */
export type CdnOptions = {
  /** Base URLs of the origins, `http://host:port`; the first is asked, the others when it cannot be reached. */
  readonly originUrls: readonly string[];
  /** Address to listen on. */
  readonly host: string;
  /** Port to listen on; not 0, for none of the programs says which one it took. */
  readonly port: number;
  /** Absolute path of a folder of its own for configuration, cache and sockets; it is made when it is missing. */
  readonly folder: string;
  /** Longest time that a request may be held, seconds; more than three target durations. */
  readonly holdMaxS?: number;
  /** Processes or threads that serve. */
  readonly workers?: number;
  /** Size of the cache, MiB. */
  readonly cacheMib?: number;
  /**
   * nginx with Lua: the origin's `ORIGIN_PULL_TOKEN`. With it the CDN asks the origin whether a viewer's access token opens
   * the stream, and then shares one copy among all of them. Without it tokens are passed on, and each has copies of its own.
   */
  readonly pullToken?: string;
  /** nginx: writes a line for each request to `access.log` in the folder. */
  readonly accessLog?: boolean;
  /** nginx: collapses with its own lock, as without the Lua module: the others get an object up to 500 ms late. */
  readonly withoutLua?: boolean;
};

/** The programs that can be a local CDN. */
export const CDN_KINDS = ['nginx', 'varnish', 'trafficserver'] as const;
export type CdnKind = (typeof CDN_KINDS)[number];

/** A program that is ready to be started. */
export type CdnCommand = {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
};

/** What a kind of CDN knows: how its configuration is written. */
export type CdnProgram = {
  /** The name of the program that must be installed. */
  readonly file: string;
  /** Writes the configuration into the folder, which exists. */
  prepare(options: CdnOptions): Promise<CdnCommand>;
};

/** Longest segments have 6 s; a hold of three of them, and a little. */
export const HOLD_MAX_S = 20;

/** Servers are often in sbin, which is not on everybody's PATH. */
export const PROGRAM_PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;
