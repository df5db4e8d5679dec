import { Type, type TSchema } from 'typebox'

/** The envelope of every error of the API. */
export const Failure = Type.Object({
  success: Type.Literal(false),
  error: Type.String(),
  code: Type.String(),
  statusCode: Type.Integer()
})

/** The envelope of every other answer of the API. */
export const Success = <T extends TSchema>(data: T) => Type.Object({ success: Type.Literal(true), data })

export const Page = Type.String({ description: 'An HTML page' })

/** An error at the address of a page: a page for people, the envelope for programs. */
export const PageFailure = {
  description: 'An error',
  content: { 'text/html': { schema: Page }, 'application/json': { schema: Failure } }
}
