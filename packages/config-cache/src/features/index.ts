// The door of what flags mean.
export { definitionOf, FeatureSchema, type Feature, type FeatureCondition, type FeatureRule, type FeatureShare } from './definition.ts'
export { bucketOf, evaluate, isOn, type Evaluation, type FeatureContext } from './evaluate.ts'
