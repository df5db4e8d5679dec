import { Type, type TObject, type TSchema } from 'typebox'

/** The body of every refusal and fault: what `answerFailure` sends. */
export const Failure = Type.Object({
  success: Type.Literal(false),
  error: Type.String(),
  code: Type.String({ description: 'Code of the error, FST_ERR_…' }),
  statusCode: Type.Integer()
})

/** Responses of a route that fails. */
export const failures = { '4xx': Failure, '5xx': Failure }

/** The body of an answer that is `data`. */
export const Success = <T extends TSchema>(data: T): TObject<{ success: ReturnType<typeof Type.Literal<true>>, data: T }> => Type.Object({ success: Type.Literal(true), data })

/** Responses of a route whose answer is `data`. */
export const answers = <T extends TSchema>(data: T) => ({ 200: Success(data), ...failures })

/** An answer. */
export function ok<T> (data: T): { success: true, data: T } {
  return { success: true, data }
}
