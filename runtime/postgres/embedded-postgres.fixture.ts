import { createLogger } from '#runtime/log.ts';
import { systemClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { EmbeddedPostgres } from '#runtime/postgres/embedded-postgres.ts';

// A process of its own for tests that kill it or run it as another user: starts a server on the folder given, says so
// in one line of JSON and stops when its standard input ends.
const folder = process.argv[2] ?? '';
try {
  const server = await EmbeddedPostgres.start(
    { folder },
    { clock: systemClock, logger: createLogger('fixture', 'silent'), metrics: createMetrics('fixture') },
  );
  process.stdout.write(`${JSON.stringify({ pid: server.pid, target: server.target })}\n`);
  process.stdin.resume().once('end', () => void server.close());
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: error instanceof Error ? error.message : error })}\n`);
  process.exitCode = 1;
}
