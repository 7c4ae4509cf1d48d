import postgres from 'postgres';
import { describe, expect, it } from 'vitest';
import { isStatementError, toUnavailable, violatedConstraint } from '#runtime/postgres/database-errors.ts';

function serverError(code: string): Error {
  const error: Error = new postgres.PostgresError('it says');
  return Object.assign(error, { code, constraint_name: 'some_key' });
}

describe('what the server says', () => {
  it.each([
    ['57P01', 'down'], // shutting down
    ['57P03', 'down'], // starting up
    ['53300', 'down'], // too many connections
    ['28P01', 'down'], // wrong password
    ['57014', 'busy'], // statement_timeout
    ['40P01', 'busy'], // deadlock
    ['55P03', 'busy'], // lock_timeout
    ['25P03', 'busy'], // idle in transaction
  ])('%s means that it is %s', (code, reason) => {
    expect(toUnavailable(serverError(code))?.reason).toBe(reason);
    expect(isStatementError(serverError(code))).toBe(false);
  });

  it.each(['23505', '42P01', '22P02'])('%s is about the statement', (code) => {
    expect(toUnavailable(serverError(code))).toBeUndefined();
    expect(isStatementError(serverError(code))).toBe(true);
  });

  it('names the constraint that was violated', () => {
    expect(violatedConstraint(serverError('23505'))).toBe('some_key');
    expect(violatedConstraint(serverError('42P01'))).toBeUndefined();
    expect(violatedConstraint(new Error('x'))).toBeUndefined();
  });
});
