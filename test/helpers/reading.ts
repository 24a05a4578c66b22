import { piecesOf, type Reading, type StoredDocument } from '../../src/store/store.js'

/** All documents of a full reading; of another none. */
export async function documentsOf (reading: Reading): Promise<StoredDocument[]> {
  const documents: StoredDocument[] = []
  if (reading.kind === 'everything') for await (const piece of piecesOf(reading)) documents.push(...piece)
  return documents
}
