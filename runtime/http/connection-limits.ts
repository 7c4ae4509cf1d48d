import type { Server } from 'node:http';
import type { Http2SecureServer } from 'node:http2';
import type { Socket } from 'node:net';
import type { HttpMetrics } from '#runtime/http/http-metrics.ts';

export type ConnectionLimits = {
  /** Connections in all; one more is closed at once. */
  readonly connectionsMax: number;
  /** Connections of one address; one more is closed at once. */
  readonly addressConnectionsMax: number;
};

/** Closes connections that are too many, before anything is read from them. */
export function limitConnections(
  server: Server | Http2SecureServer,
  limits: ConnectionLimits,
  metrics: HttpMetrics | undefined,
): void {
  const byAddress = new Map<string, number>();
  server.maxConnections = limits.connectionsMax;
  server.on('drop', () => metrics?.refused.inc({ reason: 'all' }));
  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (byAddress.get(address) ?? 0) + 1;
    byAddress.set(address, count);
    metrics?.connections.inc();
    socket.once('close', () => {
      metrics?.connections.dec();
      const left = (byAddress.get(address) ?? 1) - 1;
      if (left === 0) byAddress.delete(address);
      else byAddress.set(address, left);
    });
    if (count <= limits.addressConnectionsMax) return;
    metrics?.refused.inc({ reason: 'address' });
    socket.destroy();
  });
}
