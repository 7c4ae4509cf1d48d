import { parsers } from 'prettier/plugins/yaml';

/** A value as a YAML file means it; scalars stay text, however they are quoted. */
export type YamlValue = string | null | readonly YamlValue[] | { readonly [key: string]: YamlValue };

/** A node of the tree that the formatter's parser gives. */
type Node = {
  readonly type: string;
  readonly value?: unknown;
  readonly anchor?: { readonly value: string } | null;
  readonly children?: readonly (Node | null)[];
};

/**
 * Reads a YAML file with the parser of the formatter: mappings, sequences, text, anchors, aliases and merges.
 *
 * @throws when the file has anything else, or is no YAML
 */
export function readYaml(text: string): YamlValue {
  const root = (parsers.yaml.parse as (text: string, options: object) => unknown)(text, {}) as Node;
  const [document] = childrenOf(root);
  const body = childrenOf(document).find(({ type }) => type === 'documentBody');
  return new Reader().valueOf(childrenOf(body)[0]);
}

function childrenOf(node: Node | undefined): Node[] {
  return (node?.children ?? []).filter((child) => child !== null);
}

function textOf(node: Node | undefined): string {
  if (typeof node?.value !== 'string') throw new Error(`no text: ${JSON.stringify(node)}`);
  return node.value;
}

class Reader {
  readonly #anchors = new Map<string, YamlValue>();

  valueOf(node: Node | undefined): YamlValue {
    const value = this.#read(node);
    if (node?.anchor) this.#anchors.set(node.anchor.value, value);
    return value;
  }

  #read(node: Node | undefined): YamlValue {
    switch (node?.type) {
      case undefined:
      case 'null':
        return null;
      case 'plain':
      case 'quoteSingle':
      case 'quoteDouble':
      case 'blockLiteral':
      case 'blockFolded':
        return textOf(node);
      case 'alias':
        return this.#aliased(textOf(node));
      case 'sequence':
      case 'flowSequence':
        return childrenOf(node).map((item) =>
          this.valueOf(
            item.type === 'sequenceItem' || item.type === 'flowSequenceItem' ? childrenOf(item)[0] : item,
          ),
        );
      case 'mapping':
      case 'flowMapping':
        return this.#mapping(node);
      default:
        throw new Error(`no rule for this YAML: ${JSON.stringify(node)}`);
    }
  }

  #aliased(name: string): YamlValue {
    const value = this.#anchors.get(name);
    if (value === undefined) throw new Error(`*${name} stands before &${name}`);
    return value;
  }

  /** Own keys win over merged ones, wherever they stand. */
  #mapping(node: Node): YamlValue {
    const merged: Record<string, YamlValue> = {};
    const own: Record<string, YamlValue> = {};
    for (const item of childrenOf(node)) {
      const [key, value] = childrenOf(item);
      const name = textOf(childrenOf(key)[0]);
      const content = this.valueOf(childrenOf(value)[0]);
      if (name === '<<') Object.assign(merged, content);
      else own[name] = content;
    }
    return { ...merged, ...own };
  }
}
