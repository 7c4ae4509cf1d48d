import { pino, type Logger as PinoLogger } from 'pino';

/** Structured JSON logger. Give each subsystem a child: `logger.child({ subsystem: 'cutter' })`. */
export type Logger = PinoLogger;

/** The levels a service accepts in `LOG_LEVEL`. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * Builds the root logger of a service; it writes JSON lines to standard error, so that standard output stays free
 * for what a person asked to see. Secrets are redacted by name as a second line of defence; never log them on purpose.
 */
export function createLogger(service: string, level: LogLevel = 'info'): Logger {
  return pino(
    {
      level,
      base: { service },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'streamKey',
          'token',
          'authorization',
          'adminToken',
          '*.streamKey',
          '*.token',
          '*.authorization',
        ],
        censor: '[redacted]',
      },
    },
    pino.destination({ fd: 2, sync: false }),
  );
}
