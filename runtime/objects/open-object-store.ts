import { FolderObjectStore } from '#runtime/objects/folder-object-store.ts';
import type { ObjectStore } from '#runtime/objects/object-store.ts';
import { S3ObjectStore, type S3Settings } from '#runtime/objects/s3-object-store.ts';

/** Where objects are kept. */
export type ObjectPlace = { readonly folder: string } | { readonly s3: S3Settings };

/** Opens the store; a server that is away is no failure, a folder that cannot be made is. */
export async function openObjectStore(place: ObjectPlace): Promise<ObjectStore> {
  return 's3' in place ? new S3ObjectStore(place.s3) : FolderObjectStore.open(place.folder);
}
