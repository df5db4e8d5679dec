// The door of what flags mean.
export type { FeatureCondition, FeatureContext } from './conditions.ts'
export { checkFlag, definitionOf, FeatureSchema, type Feature, type FeatureRule, type FeatureShare } from './definition.ts'
export { bucketOf, evaluate, isOn, type Evaluation } from './evaluate.ts'
