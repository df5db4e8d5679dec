import createError from '@fastify/error'

/** Nothing is served at this address. */
export const NotFoundError = createError<[string]>('FST_ERR_SITE_NOT_FOUND', 'Nothing is served at %s', 404)

/** Longer than any address of this site. */
export const TooLongError = createError('FST_ERR_SITE_URI_TOO_LONG', 'The address is too long.', 414)

/** Nobody is signed in. */
export const UnauthenticatedError = createError('FST_ERR_SITE_UNAUTHENTICATED', 'Please sign in first.', 401)

/** The account may not do this. */
export const ForbiddenError = createError('FST_ERR_SITE_FORBIDDEN', 'Your account may not do this.', 403)

/** A request that changes something came from another site's page. */
export const CrossSiteError = createError('FST_ERR_SITE_CROSS_SITE', 'This request came from another site, or does not say where it came from.', 403)

/** The name and the password do not belong together; which of them is wrong stays unsaid. */
export const CredentialsError = createError('FST_ERR_SITE_CREDENTIALS', 'User name or password is wrong.', 401)

/** An administrator has locked the account. */
export const LockedError = createError('FST_ERR_SITE_LOCKED', 'This account is locked. Please ask an administrator.', 403)

/** The account is gone, or never was. */
export const NoAccountError = createError<[string]>('FST_ERR_SITE_NO_ACCOUNT', 'There is no account %s.', 404)

/** Too many attempts. */
export const TooManyError = createError('FST_ERR_SITE_TOO_MANY', 'Too many attempts. Please wait a few minutes.', 429)

/** More passwords are being checked than this process takes on. */
export const BusyError = createError('FST_ERR_SITE_BUSY', 'Too many people sign in right now. Please try again in a moment.', 503)

/** Another account has this user name or e-mail address. */
export const UserExistsError = createError<[string]>('FST_ERR_SITE_USER_EXISTS', 'This %s is taken.', 409)

/** A form field makes no sense. */
export const InputError = createError<[string]>('FST_ERR_SITE_INPUT', '%s', 400)

/** An administrator has closed it, by a feature flag. */
export const SignUpClosedError = createError('FST_ERR_SITE_SIGN_UP_CLOSED', 'Nobody new can sign up at the moment.', 403)

/** Somebody else saved the same thing since it was read. */
export const EditedError = createError<[what: string]>('FST_ERR_SITE_EDITED', 'Somebody else has changed the %s meanwhile. Nothing was saved.', 409)
