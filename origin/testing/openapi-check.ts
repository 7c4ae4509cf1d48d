import { z } from 'zod';
import type { Answer, OriginUnderTest } from '#origin/testing/origin-under-test.ts';

type Described = {
  readonly operationId: string;
  readonly responses: Readonly<
    Record<
      string,
      {
        readonly description: string;
        readonly content?: Readonly<Record<string, { readonly schema: z.core.JSONSchema.JSONSchema }>>;
      }
    >
  >;
};
type Document = {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  readonly components: { readonly schemas: { readonly Problem: z.core.JSONSchema.JSONSchema } };
};

/** Holds every answer of an origin against the OpenAPI document that this origin serves. */
export class OpenApiCheck {
  readonly document: Document;
  /** `operation status` of all answers so far. */
  readonly seen = new Set<string>();
  readonly #origin: OriginUnderTest;

  private constructor(origin: OriginUnderTest, document: Document) {
    this.#origin = origin;
    this.document = document;
  }

  static async of(origin: OriginUnderTest): Promise<OpenApiCheck> {
    const { body } = await origin.call<Document>('GET', '/api/v1/openapi.json', { token: null });
    return new OpenApiCheck(origin, body);
  }

  /** All operations, as `METHOD path`. */
  get operations(): string[] {
    return Object.entries(this.document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
  }

  /** The success that each operation describes, as {@link seen} has them. */
  get successes(): string[] {
    return Object.values(this.document.paths).flatMap((methods) =>
      Object.values(methods).flatMap(({ operationId, responses }) =>
        Object.keys(responses)
          .filter((status) => status.startsWith('2'))
          .map((status) => `${operationId} ${status}`),
      ),
    );
  }

  /** As the origin's own call. @throws {Error} when the answer is not what the document says */
  readonly call = async <Body = Record<string, unknown>>(
    method: string,
    path: string,
    options: Parameters<OriginUnderTest['call']>[2] = {},
  ): Promise<Answer<Body>> => {
    const answer = await this.#origin.call<Body>(method, path, options);
    this.#compare(method, path.split('?')[0] ?? '', answer);
    return answer;
  };

  #compare(method: string, path: string, answer: Answer<unknown>): void {
    const what = `${method} ${path} → ${answer.status}`;
    const template = Object.keys(this.document.paths)
      .filter((known) => new RegExp(`^${known.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path))
      .toSorted((a, b) => a.split('{').length - b.split('{').length)[0];
    const described = this.document.paths[template ?? '']?.[method.toLowerCase()];
    const response = described?.responses[answer.status];
    if (described === undefined || response === undefined) throw new Error(`${what} is not in the document`);
    this.seen.add(`${described.operationId} ${answer.status}`);
    const type = answer.headers.get('content-type')?.split(';')[0] ?? '';
    if (response.content === undefined) {
      if (answer.text !== '') throw new Error(`${what} has a body that the document does not know`);
      return;
    }
    const schema = response.content[type]?.schema;
    if (schema === undefined) throw new Error(`${what} is ${type}, which the document does not know`);
    const isProblem = type === 'application/problem+json';
    const result = z
      .fromJSONSchema(isProblem ? this.document.components.schemas.Problem : schema)
      .safeParse(answer.body);
    if (!result.success)
      throw new Error(`${what} is not as described: ${z.prettifyError(result.error)} ${answer.text}`);
    if (!isProblem) return;
    const { code } = answer.body as { code: string };
    if (!response.description.split(', ').includes(code))
      throw new Error(`${what} has the code ${code}; described are ${response.description}`);
  }
}
