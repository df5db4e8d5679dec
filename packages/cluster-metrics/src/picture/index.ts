export { aggregate, type Aged, type ClusterData, type InstanceMetrics, type RequestTotals, type RouteTotals, type ServerMetrics, type Statistics } from './aggregate.ts'
export { mergeHistory, type HistoryPoint } from './history.ts'
export { mask } from './mask.ts'
export type { NamespaceTotals } from './namespaces.ts'
