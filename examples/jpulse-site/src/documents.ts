import type {} from '@fastify/mongodb'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type {} from 'server-kit'
import { memoryAudit, mongoAudit, type Audit, type AuditEntry } from './audit/audit.ts'
import { memoryGuestBook } from './guestbook/memory-guestbook.ts'
import { mongoGuestBook, type EntryDocument } from './guestbook/mongo-guestbook.ts'
import type { GuestBook } from './guestbook/guestbook.ts'
import { memoryTodos, mongoTodos, type TodoDocument, type Todos } from './live/todos.ts'
import { memoryDirectory, mongoDirectory, type Directory } from './people/directory.ts'
import type { Person } from './people/people.ts'
import { memoryUsers } from './users/memory-users.ts'
import { mongoUsers, type UserDocument } from './users/mongo-users.ts'
import type { Users } from './users/users.ts'

/** What the site keeps. */
interface Documents {
  readonly users: Users
  readonly directory: Directory
  readonly todos: Todos
  readonly guestBook: GuestBook
  readonly audit: Audit
}

declare module 'fastify' {
  interface FastifyInstance {
    documents: Documents
  }
}

/** In MongoDB, or in this process where none is configured. */
export default fp(async (app: FastifyInstance) => {
  app.decorate('documents', app.mongoLink === undefined ? inProcess() : inMongo(app))
}, { name: 'site-documents', fastify: '5.x' })

function inProcess (): Documents {
  return { users: memoryUsers(), directory: memoryDirectory(), todos: memoryTodos(), guestBook: memoryGuestBook(), audit: memoryAudit() }
}

function inMongo (app: FastifyInstance): Documents {
  const [link, db] = [app.mongoLink!, app.mongo.db!]
  return {
    users: mongoUsers(db.collection<UserDocument>('users'), link),
    directory: mongoDirectory(db.collection<Person>('people'), link),
    todos: mongoTodos(db.collection<TodoDocument>('todos'), link),
    guestBook: mongoGuestBook(db.collection<EntryDocument>('guestbook'), link),
    audit: mongoAudit(db.collection<AuditEntry>('audit'), link)
  }
}
