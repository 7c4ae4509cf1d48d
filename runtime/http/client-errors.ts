import type { Server } from 'node:http';
import type { Http2SecureServer } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { HttpMetrics } from '#runtime/http/http-metrics.ts';
import { ProblemError, problemParts } from '#runtime/http/problem.ts';

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

/**
 * Answers what is not HTTP, comes too slowly or has too many headers with a problem of ours, and closes the connection.
 * Nothing is logged: whoever sends garbage shall not fill the log; a counter tells of it.
 */
export function answerClientErrors(
  server: Server | Http2SecureServer,
  metrics: HttpMetrics | undefined,
): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // A client that has gone is not an error of a request, and an answer under way must not be torn apart.
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const problem = toProblem(error.code);
    metrics?.clientErrors.inc({ code: problem.code });
    if ('bytesWritten' in socket && isAnswering(socket)) {
      socket.destroy();
      return;
    }
    const { headers, body } = problemParts(problem);
    const lines = [
      `HTTP/1.1 ${problem.status} ${REASONS[problem.status] ?? ''}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ];
    socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
  });
}

/** Node keeps the response that a socket is busy with under this name, and looks at it for the same reason. */
function isAnswering(socket: object): boolean {
  const response: unknown = Reflect.get(socket, '_httpMessage');
  return (
    typeof response === 'object' &&
    response !== null &&
    'headersSent' in response &&
    response.headersSent === true
  );
}

function toProblem(code: string | undefined): ProblemError {
  switch (code ?? '') {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ProblemError(408, 'request_timeout', 'The request took too long to arrive.');
    case 'HPE_HEADER_OVERFLOW':
      return new ProblemError(431, 'headers_too_large', 'The request line and headers are too long.');
    default:
      return new ProblemError(400, 'request_malformed', 'This is not a request of HTTP/1.1.');
  }
}
