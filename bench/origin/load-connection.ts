import { connect, type Socket } from 'node:net';

/** What one connection has to say of an answer: when its last byte came. */
export type OnAnswer = (connection: LoadConnection) => void;

/** All connections read into the same memory: nobody looks at a body. */
const READ_BUFFER = Buffer.allocUnsafe(256 * 1024);
const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: (\d+)/i;

/**
 * A keep-alive connection that sends ready-made requests and counts the bytes of the answers, on the bare socket, so that the
 * load costs less than what it measures. Anything but a 200 ends the run.
 */
export class LoadConnection {
  readonly socket: Socket;
  onAnswer: OnAnswer | undefined;
  #left = 0;
  #head = '';

  private constructor(port: number, onConnect: (connection: LoadConnection) => void) {
    this.socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length) => {
          this.#receive(length);
          return true;
        },
      },
    });
    this.socket.once('connect', () => onConnect(this));
  }

  /** @throws when the server refuses or resets the connection */
  static open(port: number): Promise<LoadConnection> {
    return new Promise((resolve, reject) => {
      const connection = new LoadConnection(port, resolve);
      connection.socket.on('error', reject);
    });
  }

  /** Opens many, a few at a time. */
  static async openAll(port: number, count: number): Promise<LoadConnection[]> {
    const connections: LoadConnection[] = [];
    const batch = 250;
    while (connections.length < count)
      connections.push(
        ...(await Promise.all(
          Array.from({ length: Math.min(batch, count - connections.length) }, () =>
            LoadConnection.open(port),
          ),
        )),
      );
    return connections;
  }

  send(request: Buffer): void {
    this.socket.write(request);
  }

  close(): void {
    this.socket.resetAndDestroy();
  }

  #receive(length: number): void {
    if (this.#left > 0) {
      this.#left -= length;
    } else {
      const end = READ_BUFFER.subarray(0, length).indexOf(HEAD_END);
      this.#head += READ_BUFFER.toString('latin1', 0, end < 0 ? length : end);
      if (end < 0) return;
      if (!this.#head.startsWith('HTTP/1.1 20')) throw new Error(`answered ${this.#head.slice(0, 300)}`);
      this.#left = Number(LENGTH.exec(this.#head)?.[1] ?? 0) - (length - end - HEAD_END.length);
      this.#head = '';
    }
    if (this.#left < 0) throw new Error('more came than was announced');
    if (this.#left === 0) this.onAnswer?.(this);
  }
}
