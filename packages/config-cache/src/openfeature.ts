import { ErrorCode, OpenFeatureEventEmitter, ProviderEvents, StandardResolutionReasons, type EvaluationContext, type JsonValue, type Provider, type ResolutionDetails } from '@openfeature/server-sdk'
import { Type } from 'typebox'
import { checkerOf, isAnswer } from './checks.ts'
import type { ConfigCache } from './config-cache.ts'
import { evaluate, type Evaluation, type Feature } from './features/index.ts'

export interface ConfigCacheProviderOptions {
  /**
   * Whether a flag is answered with the last definition that this process saw while the source fails. Such answers have the reason `STALE`, and the provider
   * is in that state until the source answers again. @default false: the caller's default, with an error
   */
  staleOnError?: boolean | undefined
}

const check = checkerOf(Type.Object({ staleOnError: Type.Optional(Type.Boolean()) }, { additionalProperties: false }))
const PREFIX = 'config:features:feature:'

/** An error as OpenFeature wants it: it returns the caller's default, with a code. */
class EvaluationError extends Error {
  readonly code: ErrorCode

  constructor (code: ErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * An OpenFeature provider over the flags of the cache: `OpenFeature.setProviderAndWait(new ConfigCacheProvider(app.configCache))`.
 *
 * Each evaluation reads the flag as `getFeature` does: once `setFeature` has resolved on any instance, every later evaluation on any instance is by the
 * new definition. A change is told as PROVIDER_CONFIGURATION_CHANGED, a source that fails as PROVIDER_ERROR (or PROVIDER_STALE), its return as PROVIDER_READY.
 */
export class ConfigCacheProvider implements Provider {
  readonly metadata = { name: 'config-cache' } as const
  readonly runsOn = 'server' as const
  readonly events = new OpenFeatureEventEmitter()
  readonly #cache: ConfigCache
  readonly #staleOnError: boolean
  #state: 'ready' | 'error' | 'stale' = 'ready'
  #unsubscribe: () => void = () => {}

  /** @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION */
  constructor (cache: ConfigCache, options: ConfigCacheProviderOptions = {}) {
    this.#cache = cache
    this.#staleOnError = check(options).staleOnError ?? false
  }

  /** Reads the flags, at most 1000, so that the first evaluations find them. @throws what the source throws */
  async initialize (): Promise<void> {
    this.#unsubscribe()
    this.#unsubscribe = this.#cache.onChange((tags) => this.#changed(tags))
    try {
      await this.#cache.warmup(['features:*'])
    } catch (err) {
      this.#state = 'error'
      throw err
    }
  }

  async onClose (): Promise<void> {
    this.#unsubscribe()
    this.#unsubscribe = () => {}
  }

  resolveBooleanEvaluation (name: string, defaultValue: boolean, context: EvaluationContext): Promise<ResolutionDetails<boolean>> {
    return this.#resolve(name, defaultValue, context, 'boolean')
  }

  resolveStringEvaluation (name: string, defaultValue: string, context: EvaluationContext): Promise<ResolutionDetails<string>> {
    return this.#resolve(name, defaultValue, context, 'string')
  }

  resolveNumberEvaluation (name: string, defaultValue: number, context: EvaluationContext): Promise<ResolutionDetails<number>> {
    return this.#resolve(name, defaultValue, context, 'number')
  }

  resolveObjectEvaluation<T extends JsonValue> (name: string, defaultValue: T, context: EvaluationContext): Promise<ResolutionDetails<T>> {
    return this.#resolve(name, defaultValue, context, 'object')
  }

  async #resolve<T> (name: string, defaultValue: T, context: EvaluationContext, type: string): Promise<ResolutionDetails<T>> {
    const { feature, isStale } = await this.#read(name)
    if (feature === null) throw new EvaluationError(ErrorCode.FLAG_NOT_FOUND, `There is no flag "${name}"`)
    const { value, variant, reason } = this.#evaluate(name, feature, context)
    const details = {
      reason: isStale ? StandardResolutionReasons.STALE : reason,
      ...(variant === undefined ? {} : { variant }),
      ...(feature.metadata === undefined ? {} : { flagMetadata: feature.metadata })
    }
    if (value === undefined) return { value: defaultValue, ...details }
    const found: string = typeof value
    if (found !== type || value === null) throw new EvaluationError(ErrorCode.TYPE_MISMATCH, `The flag "${name}" is a ${found}, not a ${type}`)
    return { value: value as T, ...details }
  }

  #evaluate (name: string, feature: Feature, context: EvaluationContext): Evaluation {
    let evaluation: Evaluation
    try {
      evaluation = evaluate(name, feature, context)
    } catch (err) {
      throw new EvaluationError(ErrorCode.PARSE_ERROR, (err as Error).message)
    }
    if (evaluation.reason !== 'TARGETING_KEY_MISSING') return evaluation
    throw new EvaluationError(ErrorCode.TARGETING_KEY_MISSING, `The flag "${name}" is split by "${feature.splitBy ?? 'targetingKey'}", which the context has not`)
  }

  async #read (name: string): Promise<{ feature: Readonly<Feature> | null, isStale: boolean }> {
    try {
      let isStale = false
      const feature = this.#staleOnError ? await this.#cache.readFeature(name, { staleOnError: true }, () => { isStale = true }) : await this.#cache.getFeature(name)
      this.#setState(isStale ? 'stale' : 'ready')
      return { feature, isStale }
    } catch (err) {
      const { message } = err as Error
      // A name that can be none is no failure of the source.
      if (isAnswer(err)) throw new EvaluationError(ErrorCode.FLAG_NOT_FOUND, message)
      this.#setState('error', message)
      throw new EvaluationError(ErrorCode.GENERAL, message)
    }
  }

  #setState (state: 'ready' | 'error' | 'stale', message = 'the source of the flags failed'): void {
    if (state === this.#state) return
    this.#state = state
    if (state === 'ready') this.events.emit(ProviderEvents.Ready)
    else this.events.emit(state === 'stale' ? ProviderEvents.Stale : ProviderEvents.Error, { message })
  }

  #changed (tags: readonly string[] | null): void {
    if (tags === null) return this.events.emit(ProviderEvents.ConfigurationChanged, { message: 'any flag may have changed' })
    const flagsChanged = tags.filter((tag) => tag.startsWith(PREFIX)).map((tag) => tag.slice(PREFIX.length))
    if (flagsChanged.length > 0) this.events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged })
  }
}
