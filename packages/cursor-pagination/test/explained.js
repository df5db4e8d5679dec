/**
 * Replies to `explain` with 'executionStats' in the forms that MongoDB gives, as its manual documents them: what stands in
 * them is made up, where it stands is not.
 *
 * Sources: MongoDB manual 6.0, 7.0 and 8.0, reference/explain-results; reference/command/aggregate and
 * core/aggregation-pipeline-optimization for the stages of a pipeline.
 *
 * @typedef {(keys: number, documents: number, plan?: object) => object} Reply
 */

export const indexed = { stage: 'LIMIT', limitAmount: 20, inputStage: { stage: 'FETCH', inputStage: { stage: 'IXSCAN', keyPattern: { a: 1, _id: 1 }, indexName: 'a_1__id_1', direction: 'forward' } } }

const planner = (/** @type {object} */ winningPlan) => ({ namespace: 'shop.items', parsedQuery: { a: { $gt: 5 } }, winningPlan, rejectedPlans: [{ stage: 'SORT', inputStage: { stage: 'COLLSCAN' } }] })
const stats = (/** @type {unknown} */ totalKeysExamined, /** @type {unknown} */ totalDocsExamined, stage = {}) => ({
  executionSuccess: true,
  nReturned: 20,
  executionTimeMillis: 1,
  totalKeysExamined,
  totalDocsExamined,
  executionStages: { stage: 'LIMIT', nReturned: 20, works: 22, inputStage: { stage: 'FETCH', docsExamined: totalDocsExamined, inputStage: { stage: 'IXSCAN', keysExamined: totalKeysExamined } }, ...stage },
  allPlansExecution: [{ nReturned: 3, totalKeysExamined: 4000, totalDocsExamined: 4000, executionStages: { stage: 'SORT' } }]
})
const half = (/** @type {number} */ n) => [Math.ceil(n / 2), Math.floor(n / 2)]

/** @type {Record<string, Reply>} */
export const finds = {
  'MongoDB 6, classic engine': (keys, documents, plan = indexed) => ({ explainVersion: '1', queryPlanner: planner(plan), executionStats: stats(keys, documents), command: { find: 'items' }, serverInfo: {}, ok: 1 }),
  'MongoDB 7, slot-based engine': (keys, documents, plan = indexed) => ({
    explainVersion: '2',
    queryPlanner: planner({ queryPlan: plan, slotBasedPlan: { slots: '$$RESULT=s6 env: { }', stages: '[2] nlj inner [] [s1]' } }),
    executionStats: stats(keys, documents, { stage: 'mkobj', opens: 1, inputStage: { stage: 'limit', numReads: 20 } }),
    ok: 1
  }),
  'MongoDB 8': (keys, documents, plan = indexed) => ({ explainVersion: '1', queryShapeHash: 'F1…', queryPlanner: planner({ isCached: false, ...plan }), executionStats: stats(keys, documents, { isCached: false }), queryShapeHashes: {}, ok: 1 }),
  'shards, asked by find': (keys, documents, plan = indexed) => ({
    queryPlanner: { winningPlan: { stage: 'SHARD_MERGE_SORT', shards: [{ shardName: 'one', ...planner(plan) }, { shardName: 'two', ...planner(plan) }] } },
    executionStats: {
      ...stats(keys, documents),
      executionStages: { stage: 'SHARD_MERGE_SORT', shards: [0, 1].map((i) => ({ shardName: String(i), ...stats(half(keys)[i], half(documents)[i]) })) }
    },
    ok: 1
  })
}

/** @type {Record<string, Reply>} */
export const aggregations = {
  'a pipeline that became a find': finds['MongoDB 7, slot-based engine'] ?? (() => ({})),
  'stages behind a cursor': (keys, documents, plan = indexed) => ({
    explainVersion: '1',
    stages: [{ $cursor: { queryPlanner: planner(plan), executionStats: stats(keys, documents) }, nReturned: 20 }, { $addFields: { x: 1 }, nReturned: 20 }],
    ok: 1
  }),
  'shards, asked by aggregate': (keys, documents, plan = indexed) => ({
    mergeType: 'mongos',
    splitPipeline: { shardsPart: [], mergerPart: [] },
    shards: Object.fromEntries([0, 1].map((i) => [`shard${i}`, { host: 'h:1', explainVersion: '1', stages: [{ $cursor: { queryPlanner: planner(plan), executionStats: stats(half(keys)[i], half(documents)[i]) } }] }])),
    ok: 1
  })
}

/** A `$lookup` tells what it examined in the collection that it joins, as Longs. @param {unknown} keys @param {unknown} documents */
export const joined = (keys, documents) => ({
  stages: [
    { $cursor: { queryPlanner: planner(indexed), executionStats: stats(20, 20) } },
    { $lookup: { from: 'authors', as: 'author', localField: 'author', foreignField: '_id' }, totalDocsExamined: documents, totalKeysExamined: keys, collectionScans: 0, indexesUsed: ['_id_'] },
    { $sort: { sortKey: { a: 1, _id: 1 }, limit: 21 } }
  ],
  ok: 1
})
