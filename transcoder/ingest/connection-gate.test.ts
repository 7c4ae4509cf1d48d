import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { addressKey, ConnectionGate } from './connection-gate.ts';

const wide = {
  connectionsMax: 1_000_000,
  connectionsPerAddressMax: 1_000_000,
  connectionRateMax: 1_000_000,
  connectionRatePerAddressMax: 1_000_000,
};

describe('the gate for new connections', () => {
  it('takes so many in all', () => {
    const gate = new ConnectionGate({ ...wide, connectionsMax: 2 }, new FakeClock());
    expect([gate.admit('10.0.0.1'), gate.admit('10.0.0.2'), gate.admit('10.0.0.3')]).toEqual([
      undefined,
      undefined,
      'connections',
    ]);
    gate.release('10.0.0.1');
    expect(gate.admit('10.0.0.3')).toBeUndefined();
    expect(gate.open).toBe(2);
  });

  it('takes so many of one address', () => {
    const gate = new ConnectionGate({ ...wide, connectionsPerAddressMax: 1 }, new FakeClock());
    expect(gate.admit('10.0.0.1')).toBeUndefined();
    expect(gate.admit('::ffff:10.0.0.1')).toBe('connections_per_address');
    expect(gate.admit('10.0.0.2')).toBeUndefined();
    gate.release('10.0.0.1');
    expect(gate.admit('10.0.0.1')).toBeUndefined();
  });

  it('takes so many per second in all', () => {
    const clock = new FakeClock();
    const gate = new ConnectionGate({ ...wide, connectionRateMax: 2 }, clock);
    const admit = (): unknown => gate.admit('10.0.0.1');
    expect([admit(), admit(), admit()]).toEqual([undefined, undefined, 'rate']);
    clock.advance(500);
    expect([admit(), admit()]).toEqual([undefined, 'rate']);
    clock.advance(60_000);
    expect([admit(), admit(), admit()]).toEqual([undefined, undefined, 'rate']);
  });

  it('takes so many per second of one address, and the others pay nothing for it', () => {
    const gate = new ConnectionGate(
      { ...wide, connectionRateMax: 4, connectionRatePerAddressMax: 2 },
      new FakeClock(),
    );
    const flood = Array.from({ length: 100 }, () => gate.admit('10.0.0.1'));
    expect(flood.filter((refusal) => refusal === undefined)).toHaveLength(2);
    expect(flood.at(-1)).toBe('rate_per_address');
    expect([gate.admit('10.0.0.2'), gate.admit('10.0.0.3'), gate.admit('10.0.0.4')]).toEqual([
      undefined,
      undefined,
      'rate',
    ]);
  });

  it('forgets addresses without connections, however many come by', () => {
    const clock = new FakeClock();
    const gate = new ConnectionGate(wide, clock);
    gate.admit('192.168.0.1');
    for (let index = 0; index < 20_000; index++) {
      const address = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
      gate.admit(address);
      gate.release(address);
    }
    expect(gate.addressCount).toBeLessThanOrEqual(4_097);
    expect(gate.open).toBe(1);
    gate.release('192.168.0.1');
  });

  it('finds a connection that is given back twice', () => {
    const gate = new ConnectionGate(wide, new FakeClock());
    gate.admit('10.0.0.1');
    gate.release('10.0.0.1');
    expect(() => gate.release('10.0.0.1')).toThrow('not taken');
  });
});

describe('what counts as one address', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::9', '2001:db8:1:2'],
    ['2001:db8::9', '2001:db8:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
  ])('%s is %s', (address, key) => {
    expect(addressKey(address)).toBe(key);
  });
});
