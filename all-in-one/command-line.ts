/** What the command line asks for. */
export type CommandLine = {
  readonly help: boolean;
  /** Publish a test picture to the stream `demo`. */
  readonly demo: boolean;
};

/** An argument that means nothing to us. */
export class CommandLineError extends Error {
  readonly code = 'command_line_invalid';
  override readonly name = 'CommandLineError';
}

/** What `--help` prints. */
export const HELP = `Usage: npm start -- [--demo] [--help]

Starts everything in one go: RTMP ingest, transcoder, LL-HLS origin with its API and
player page, CDN steering with its console, two CDNs where nginx is installed, and a
PostgreSQL of their own. Needs ffmpeg (./setup.sh installs it).

  --demo    also publish a moving test picture with a clock and a tone to stream "demo"
  --help    print this

Settings are environment variables; the most asked for:

  RTMP_PORT      port that broadcasters connect to          (1935)
  ORIGIN_PORT    port of the player page, the API and HLS   (8080)
  STEERING_PORT  port of CDN steering and its console       (8090)
  EDGE_PORT      port of the edge that players begin at      (8787)
  LOCAL_CDNS     off: no CDNs on this machine               (auto: 2, where nginx is)
  ADMIN_TOKEN    bearer token of the API                    (made once, kept in DATA_DIR)
  DATA_DIR       folder for the database and recordings     (./data)
  LOG_LEVEL      what is logged as JSON on standard error   (warn)

Port 0 takes any free port. README.md has the full table. Ctrl-C ends everything.
`;

/**
 * Reads the arguments after the program's name.
 *
 * @throws {CommandLineError} naming the argument that is not known
 */
export function readCommandLine(args: readonly string[]): CommandLine {
  let help = false;
  let demo = false;
  for (const argument of args) {
    if (argument === '--demo') demo = true;
    else if (argument === '--help' || argument === '-h') help = true;
    else throw new CommandLineError(`unknown argument ${argument}; npm start -- --help lists what there is`);
  }
  return { help, demo };
}
