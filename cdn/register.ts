import { RegistrationError, registerCdns } from '#cdn/registration.ts';

// node cdn/register.ts name=url…: makes CDNs known to the steering server at STEERING_URL, with ADMIN_TOKEN.

try {
  const cdns = process.argv.slice(2).map((argument) => {
    const [, name, url] = /^([^=]+)=(https?:\/\/\S+)$/.exec(argument) ?? [];
    if (name === undefined || url === undefined)
      throw new RegistrationError(`expected name=http://host:port, got ${argument}`);
    return { name, url };
  });
  const { ADMIN_TOKEN, STEERING_URL } = process.env;
  if (ADMIN_TOKEN === undefined || STEERING_URL === undefined)
    throw new RegistrationError('ADMIN_TOKEN and STEERING_URL are needed');
  await registerCdns(cdns, { url: STEERING_URL, adminToken: ADMIN_TOKEN, reason: 'cdn/register.ts' });
} catch (error) {
  if (!(error instanceof RegistrationError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
