/**
 * Whether the database keeps a text as it is. Half of a surrogate pair has no form in UTF-8, so the database would store
 * U+FFFD in its place: a query for what is stored then would not have the tag of what was written, and stay as it was.
 */
export const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)

/** What an error says of a text that is not. */
export const HALF_PAIR = 'holds half of a surrogate pair'
