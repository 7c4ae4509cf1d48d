import { connect, type Socket } from 'node:net';

/**
 * One keep-alive connection that asks for steering manifests as a player does, one after the other. Written on the bare
 * socket: whatever the client does costs time that the server's figures would pay for.
 */
export class PlayerConnection {
  readonly #socket: Socket;
  readonly #host: string;
  #received = '';
  #answered: ((reloadPath: string) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', (error) => this.#failed?.(error));
    socket.on('close', () => this.#failed?.(new Error('the server closed the connection')));
  }

  static open(port: number): Promise<PlayerConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => resolve(new PlayerConnection(socket, `127.0.0.1:${port}`)));
    });
  }

  /**
   * Asks for a manifest.
   *
   * @returns path and query of its RELOAD-URI
   * @throws when the answer is not 200 or has no RELOAD-URI
   */
  ask(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
      this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n\r\n`);
    });
  }

  close(): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }

  #receive(text: string): void {
    this.#received += text;
    const head = this.#received.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#received)?.[1];
    if (this.#received.length < head + 4 + Number(length ?? 0)) return;
    const answer = this.#received;
    this.#received = '';
    const start = answer.indexOf(this.#host, head) + this.#host.length;
    const path = answer.slice(start, answer.indexOf('"', start));
    if (answer.startsWith('HTTP/1.1 200 ') && path.startsWith('/steering/v1/')) this.#answered?.(path);
    else this.#failed?.(new Error(`not a steering answer: ${answer.slice(0, 200)}`));
  }
}
