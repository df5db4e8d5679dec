import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifySchemaCompiler, FastifySerializerCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { isObject, problemOf } from '../options/problem.ts'
import { branchesOf, type Shape } from '../options/wanted.ts'
import { answerFailure } from './failure.ts'

/**
 * Makes a scope independent of what the application set for its own routes. A validator or serializer for another kind of
 * schema, a formatter of validation errors or an error handler of its own would break a plugin's routes or change their answers.
 * Here TypeBox checks what comes, texts in the path and the query become the numbers and booleans that the schema wants, nothing
 * leaves that the response's schema does not name, and every error is answered in the envelope. A JSON type with nothing behind it is
 * no body: clients say their type with each request. Other bytes than those of UTF-8 are refused: they would be read as letters that nobody sent.
 * What is answered is for certain eyes, or of this moment: no cache keeps it, unless the route says otherwise.
 *
 * @param plugin start of the plugin's codes: `FST_ERR_CONFIG_CACHE`
 */
export function prepareScope (scope: FastifyInstance, plugin: string): void {
  scope.setValidatorCompiler(validatorCompiler)
  scope.setSerializerCompiler(serializerCompiler)
  scope.setErrorHandler((err, request, reply) => answerFailure(err, request, reply, plugin))
  const parseJson = scope.getDefaultJsonParser('error', 'error')
  scope.removeContentTypeParser('application/json')
  scope.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (!isUtf8(body)) done(Object.assign(new Error('Body is no UTF-8, and JSON is sent in no other encoding'), { code: 'FST_ERR_CTP_INVALID_JSON_BODY', statusCode: 400 }), undefined)
    else if (body.length === 0) done(null, undefined)
    else parseJson(request, body.toString(), done)
  })
  scope.addHook('onSend', async (_request, reply) => { if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store') })
}

const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart = 'body' }) => (given: unknown) => {
  const value = httpPart === 'body' ? given : converted(schema as Shape, given)
  const problem = problemOf(schema, value, httpPart)
  return problem === null ? { value } : { error: new Error(`${problem.path} ${problem.text}`) }
}

/** By property: converted as a whole, TypeBox would read the name `*` of a wildcard as a pattern. */
function converted (schema: Shape, given: unknown): unknown {
  if (!isObject(given)) return given
  return Object.fromEntries(Object.entries(given).map(([name, value]) => {
    const property = schema.properties?.[name]
    return [name, property === undefined || isNoNumber(property, value) ? value : Value.Convert(property as TSchema, value)]
  }))
}

/** A text that stands for no number where one is wanted. TypeBox would read 0 in an empty one, 1 in `true` and in `1.5` for a whole one, 5 in `5n`. */
function isNoNumber (property: Shape, value: unknown): boolean {
  const kinds = (branchesOf(property) ?? [property]).map(({ type }) => type)
  if (typeof value !== 'string' || !(kinds.includes('integer') || kinds.includes('number'))) return false
  return !(kinds.includes('number') ? /^-?\d+(\.\d+)?$/ : /^-?\d+$/).test(value)
}

const serializerCompiler: FastifySerializerCompiler<TSchema> = ({ schema }) => (data: unknown) => {
  // What JSON makes of it is what leaves, so that is what is cleaned: dates and ids of databases have forms of their own.
  const json = JSON.stringify(data)
  return json === undefined ? '' : JSON.stringify(Value.Clean(schema, JSON.parse(json)))
}
