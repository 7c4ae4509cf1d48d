import { describe, expect, it } from 'vitest';
import {
  isPublicAddress,
  pinTrusted,
  TargetGuard,
  TargetRefusedError,
  type ResolveName,
} from '#runtime/outbound/target-guard.ts';

const never = new AbortController().signal;
const answers =
  (...addresses: string[]): ResolveName =>
  () =>
    Promise.resolve(addresses);

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof TargetRefusedError) return error.code;
    throw error;
  }
  return 'accepted';
};
const pinCode = async (guard: TargetGuard, url: string, resolve: ResolveName): Promise<string> => {
  try {
    return (await guard.pin(guard.checkUrl(url), resolve, never)).address;
  } catch (error) {
    if (error instanceof TargetRefusedError) return error.code;
    throw error;
  }
};

describe('isPublicAddress', () => {
  it.each([
    '8.8.8.8',
    '1.1.1.1',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450:4001::200e',
  ])('%s is', (address) => expect(isPublicAddress(address)).toBe(true));

  it.each([
    '0.0.0.0',
    '10.255.255.255',
    '100.64.0.1',
    '100.127.255.255',
    '127.0.0.1',
    '127.255.0.3',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.8',
    '192.0.2.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '64:ff9b:1::1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '3fff::1',
    '5f00::1',
    'fc00::1',
    'fd12:3456::1',
    'fe80::1',
    'fe80::1%lo',
    'ff02::1',
    'localhost',
    '2130706433',
    '',
  ])('%s is not', (address) => expect(isPublicAddress(address)).toBe(false));
});

describe('a guard without allowed targets', () => {
  const guard = new TargetGuard();

  it.each([
    ['https://cdn.example.com', 'accepted'],
    ['https://cdn.example.com:8443/prefix/', 'accepted'],
    ['https://[2606:4700::1111]/', 'accepted'],
    ['http://cdn.example.com', 'scheme_not_allowed'],
    ['ftp://cdn.example.com', 'scheme_not_allowed'],
    ['file:///etc/passwd', 'scheme_not_allowed'],
    ['not a url', 'url_invalid'],
    ['https://', 'url_invalid'],
    ['https://user:secret@cdn.example.com', 'credentials_in_url'],
    ['https://127.0.0.1', 'address_not_allowed'],
    ['https://2130706433', 'address_not_allowed'],
    ['https://0x7f000001', 'address_not_allowed'],
    ['https://0177.0.0.1', 'address_not_allowed'],
    ['https://127.1', 'address_not_allowed'],
    ['https://①②⑦.⓪.⓪.①', 'address_not_allowed'],
    ['https://169.254.169.254/latest/meta-data', 'address_not_allowed'],
    ['https://[::1]', 'address_not_allowed'],
    ['https://[::ffff:127.0.0.1]', 'address_not_allowed'],
    ['https://[::ffff:a00:1]', 'address_not_allowed'],
    ['https://[fe80::1]', 'address_not_allowed'],
  ])('says of %s: %s', (url, code) => {
    expect(codeOf(() => guard.checkUrl(url))).toBe(code);
  });

  it.each([
    ['a public address', ['93.184.216.34'], '93.184.216.34'],
    ['IPv4 before IPv6', ['2606:4700::1111', '1.1.1.1'], '1.1.1.1'],
    ['IPv6 alone', ['2606:4700::1111'], '2606:4700::1111'],
    ['loopback', ['127.0.0.1'], 'address_not_allowed'],
    ['a mapped private address', ['::ffff:10.0.0.1'], 'address_not_allowed'],
    ['one public and one inside', ['1.1.1.1', '10.0.0.1'], 'address_not_allowed'],
    ['one public and one link-local v6', ['1.1.1.1', 'fe80::1'], 'address_not_allowed'],
    ['something that is no address', ['localhost'], 'address_not_allowed'],
    ['nothing', [], 'name_not_resolved'],
  ])('pins a name that leads to %s', async (_, addresses, expected) => {
    expect(await pinCode(guard, 'https://cdn.example.com', answers(...addresses))).toBe(expected);
  });

  it('resolves a name once per pin, so that a second answer cannot slip in', async () => {
    let asked = 0;
    const rebinding: ResolveName = () => Promise.resolve(asked++ === 0 ? ['1.1.1.1'] : ['127.0.0.1']);
    const url = guard.checkUrl('https://rebind.example.com');
    expect((await guard.pin(url, rebinding, never)).address).toBe('1.1.1.1');
    expect(asked).toBe(1);
    await expect(guard.pin(url, rebinding, never)).rejects.toThrow(TargetRefusedError);
  });

  it('gives each address its turn', async () => {
    const url = guard.checkUrl('https://cdn.example.com');
    const resolve = answers('1.1.1.1', '1.0.0.1');
    expect((await guard.pin(url, resolve, never, 0)).address).toBe('1.1.1.1');
    expect((await guard.pin(url, resolve, never, 1)).address).toBe('1.0.0.1');
    expect((await guard.pin(url, resolve, never, 2)).address).toBe('1.1.1.1');
  });
});

describe('a guard with allowed targets', () => {
  const guard = new TargetGuard(['127.0.0.1', '10.1.0.0/16', 'cdn-a', 'cdn-b:8101', 'fd00::/8']);

  it.each([
    ['http://127.0.0.1:9000', 'accepted'],
    ['http://10.1.2.3', 'accepted'],
    ['http://10.2.0.1', 'scheme_not_allowed'],
    ['https://10.2.0.1', 'address_not_allowed'],
    ['http://cdn-a:1234', 'accepted'],
    ['http://cdn-b:8101', 'accepted'],
    ['http://cdn-b:8102', 'scheme_not_allowed'],
    ['http://[fd00::5]', 'accepted'],
    ['https://[::ffff:10.1.0.1]', 'accepted'],
  ])('says of %s: %s', (url, code) => {
    expect(codeOf(() => guard.checkUrl(url))).toBe(code);
  });

  it('lets an allowed name lead inside, and no other', async () => {
    expect(await pinCode(guard, 'http://cdn-a', answers('192.168.0.5'))).toBe('192.168.0.5');
    expect(await pinCode(guard, 'https://other.example', answers('10.1.0.5'))).toBe('10.1.0.5');
    expect(await pinCode(guard, 'https://other.example', answers('192.168.0.5'))).toBe('address_not_allowed');
  });

  it.each(['10.0.0.0/33', '10.0.0.0/x', 'http://cdn-a', 'a b', ''])('refuses the entry %j', (entry) => {
    expect(() => new TargetGuard([entry])).toThrow(RangeError);
  });
  it('refuses too many entries', () => {
    expect(() => new TargetGuard(Array.from({ length: 65 }, () => 'a'))).toThrow(RangeError);
  });
});

describe('pinTrusted', () => {
  it('takes an address from our own settings as it is', async () => {
    expect(await pinTrusted(new URL('http://[::1]:8080'), answers(), never)).toEqual({
      address: '::1',
      family: 6,
    });
    await expect(pinTrusted(new URL('http://origin'), answers(), never)).rejects.toThrow(TargetRefusedError);
  });
});
