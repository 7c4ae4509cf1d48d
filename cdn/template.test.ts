import { describe, expect, it } from 'vitest';
import { fillTemplate, TemplateError, withoutFeature } from '#cdn/template.ts';

describe('configuration templates', () => {
  it('are filled with what is given', () => {
    expect(fillTemplate('listen {{port}}; {{port}} {{host}} { }', { port: 80, host: 'a' })).toBe(
      'listen 80; 80 a { }',
    );
  });

  it('are refused when they want more than is given', () => {
    expect(() => fillTemplate('{{port}} {{prot}}', { port: 80 })).toThrow(TemplateError);
  });

  it('lose the lines of a feature that is not there', () => {
    expect(withoutFeature('a;\nb; # lua\nc; # other\n', 'lua')).toBe('a;\nc; # other\n');
  });
});
