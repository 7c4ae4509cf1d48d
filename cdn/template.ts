/** A template and what is filled in do not fit. */
export class TemplateError extends Error {
  readonly code = 'cdn_template_invalid';
  override readonly name = 'TemplateError';
}

/**
 * Fills `{{name}}` of a configuration template.
 *
 * @throws {TemplateError} when the template names something that is not given; configurations must not start half filled
 */
export function fillTemplate(template: string, values: Readonly<Record<string, string | number>>): string {
  return template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new TemplateError(`the template wants {{${name}}}, which is not given`);
    return String(value);
  });
}

/** Leaves out the lines that are marked with a comment that they need the named feature; '' leaves all. */
export function withoutFeature(template: string, feature: string): string {
  if (feature === '') return template;
  return template
    .split('\n')
    .filter((line) => !line.endsWith(`# ${feature}`))
    .join('\n');
}
