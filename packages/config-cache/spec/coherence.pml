/*
 * The protocol of docs/coherence.md for one key: N members with a level of their own, W writers, one Redis (shared level,
 * blocks, membership, sequence), one linearizable database.
 *
 * Property: a read never returns less than what had been written (G1) or read (G2) when it began. With -DEXPIRE a block can
 * end under its writer; then only G1 is claimed.
 *
 * Faults: messages are lost, leases lapse at any time, replies are lost, Redis restarts and loses its state but keeps old
 * cached values, a block expires, a value that a writer hands on arrives at any time or never. spec/check.js runs it, and each mutation (-DNO_…), which must find a violation.
 */
#ifndef N
#define N 1
#endif
#ifndef W
#define W 1
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
/* -DAFTER_RESTART begins where a restart left an operation of writer 0 on its way, and no lease. */
#ifdef AFTER_RESTART
#define AT_FIRST 0
#else
#define AT_FIRST 1
#endif
#define CAP 3

/* -DQUIET leaves the losses and needless renewals out, so that what concerns several writers is reached. */
#ifdef QUIET
#define MAY_RENEW(m) (!lease[m])
#define MAY_LAPSE(m) (leaseEpoch[m] != epoch)
#define MAY_LOSE false
#else
#define MAY_RENEW(m) true
#define MAY_LAPSE(m) true
#define MAY_LOSE true
#endif

#if N > 1
#define EVERY(p) (p(0) && p(1))
#else
#define EVERY(p) (p(0))
#endif

mtype = { BLOCK, RELEASE };

/* The database, and what is known of it. Values only grow. */
byte db = 1;
byte counter = 1;
byte resolved = 1;      /* newest value whose write resolved */
byte seen = 1;          /* newest value that a read returned */
#ifdef EXPIRE
#define NEED resolved
#else
#define NEED (resolved > seen -> resolved : seen)
#endif

/* Redis. Every script is atomic. */
byte epoch = 2 - AT_FIRST;
bool open = AT_FIRST;
byte seq = 0;
byte blocks = 0;
byte gen = 0;           /* generation of the tag: the seq of what touched it last, or a name that a writer chose; it is a mark while blocks > 0 */
byte l2 = 0, l2gen = 0, l2epoch = 0;
bool member[N];
byte renewed[N];
bool echo[N];           /* the last reply arrived, so the next renewal can echo its token */
byte minSeq = 0;        /* a writer has waited out every lease that was asked for before this */
byte restarts = 0;
bool held[W];           /* Redis holds the block of this writer */
bool hasExpired = false;
/* What a writer hands on, on its way to Redis, where nothing but its name orders it. */
byte sent[W], sentGen[W], sentEpoch[W];

/* Members. */
bool lease[N];
byte leaseSeq[N], leaseEpoch[N];
byte lastSeq[N], myEpoch[N];
byte blocked[N];
byte l1[N];
bool clean[N];          /* nothing touched the tag since the load in flight began */
byte acked[N];
chan inbox[N] = [CAP] of { mtype, byte, byte };

/* A write whose database operation may begin or still be under way, and its epoch: the work begins only under a block proved
 * fresh, so that it ends within the quarantine. */
bool working[W];
byte workEpoch[W];

/* -DOWN: the writers are in the process of member 0, which hears of their releases from Redis' answers, before the messages. */
#ifdef OWN
byte ownSeq[W];
#if W > 1
#define IS_OWN(s) (s == ownSeq[0] || s == ownSeq[1])
#define FORGET_OWN(s) ownSeq[0] = (ownSeq[0] > s -> 0 : ownSeq[0]); ownSeq[1] = (ownSeq[1] > s -> 0 : ownSeq[1])
#else
#define IS_OWN(s) (s == ownSeq[0])
#define FORGET_OWN(s) ownSeq[0] = (ownSeq[0] > s -> 0 : ownSeq[0])
#endif
#else
#define IS_OWN(s) false
#define FORGET_OWN(s) skip
#endif
#define OLDWORK(w) (working[w] && workEpoch[w] != epoch)
#if W > 1
#define OLDWORKS (OLDWORK(0) || OLDWORK(1))
#else
#define OLDWORKS OLDWORK(0)
#endif

inline publish (kind) {
  seq++;
  p = 0;
  do
  :: p < N ->
       if
       :: nfull(inbox[p]) -> inbox[p]!kind, seq, epoch
       :: MAY_LOSE || full(inbox[p]) -> skip    /* lost */
       fi;
       p++
  :: p >= N -> break
  od;
  p = 0
}

#ifdef NO_COUNT
#define COUNTED true
#else
#define COUNTED counted
#endif

proctype Member (byte me) {
  mtype kind; byte s, e;
  byte rseq, repoch, rblocks; bool asked, counted;
  do
  :: atomic { inbox[me]?kind, s, e ->
       if
       :: e != myEpoch[me] || s <= lastSeq[me] -> skip
       :: e == myEpoch[me] && s > lastSeq[me] ->
            if
#ifndef NO_GAP
            :: s > lastSeq[me] + 1 -> lease[me] = false; clean[me] = false    /* everything is blocked until a renewal */
#else
            :: false
#endif
            :: else ->
                 lastSeq[me] = s;
                 if
                 :: kind == BLOCK -> blocked[me]++; l1[me] = 0; clean[me] = false; acked[me] = s
                 :: kind == RELEASE ->
                      if :: blocked[me] > 0 && !(me == 0 && IS_OWN(s)) -> blocked[me]-- :: else fi;
#ifndef NO_RELEASE_TOUCH
                      clean[me] = false
#endif
                 fi
            fi
       fi; kind = 0; s = 0; e = 0 }
  :: atomic { lease[me] && MAY_LAPSE(me) -> lease[me] = false; clean[me] = false }
  :: atomic { !asked && MAY_RENEW(me) -> asked = true;
       counted = member[me] && echo[me];
       if
       :: counted -> renewed[me] = seq
       :: !member[me] && echo[me] -> member[me] = true; renewed[me] = seq; counted = true
       :: else
       fi;
       echo[me] = false; rseq = seq; repoch = epoch; rblocks = blocks };
     atomic {
       if
       :: MAY_LOSE || repoch != epoch -> skip                           /* the reply is lost */
       :: repoch == epoch ->
            echo[me] = true;
            if
            :: repoch != myEpoch[me] || rseq > lastSeq[me] ->           /* something was missed */
                 if :: repoch != myEpoch[me] -> lease[me] = false :: else fi;
                 l1[me] = 0; clean[me] = false; blocked[me] = rblocks; lastSeq[me] = rseq; myEpoch[me] = repoch;
                 if :: me == 0 -> FORGET_OWN(rseq) :: else fi;
                 if :: rblocks > 0 -> acked[me] = rseq :: else fi
            :: else
            fi;
            if
            :: open && COUNTED && rseq >= minSeq ->
#ifndef NO_TERM
                 if :: !lease[me] -> clean[me] = false :: else fi;      /* a load that began without a lease may have missed anything */
#endif
                 lease[me] = true; leaseSeq[me] = rseq; leaseEpoch[me] = repoch
            :: else
            fi
       fi; asked = false; rseq = 0; repoch = 0; rblocks = 0; counted = false }
  od
}

#define SERVES(m) (lease[m] && blocked[m] == 0)

proctype Reader (byte me) {
  byte need, value, tok, te;
  bool fill;
  do
  :: atomic { need = NEED; clean[me] = true;
       if
       :: SERVES(me) && l1[me] != 0 -> value = l1[me]; goto answer
       :: else
       fi };
     /* Value and generation of one moment; only a lease vouches for the epoch. */
     atomic {
       if
#ifdef NO_EPOCH_IN_GENERATION
       :: lease[me] && myEpoch[me] == epoch && blocks == 0 && l2 != 0 && l2gen == gen -> value = l2; goto keep
#elif defined(NO_GENERATION)
       :: lease[me] && myEpoch[me] == epoch && blocks == 0 && l2 != 0 && l2epoch == epoch -> value = l2; goto keep
#else
       :: lease[me] && myEpoch[me] == epoch && blocks == 0 && l2 != 0 && l2gen == gen && l2epoch == epoch -> value = l2; goto keep
#endif
       :: lease[me] && myEpoch[me] == epoch && blocks == 0 -> fill = true; tok = gen; te = epoch
       :: MAY_LOSE || !lease[me] || myEpoch[me] != epoch || blocks > 0  /* not reachable, or blocked */
       fi };
     value = db;
     if
     :: fill -> atomic { l2 = value; l2gen = tok; l2epoch = te }        /* stored blindly, judged when it is read */
     :: else
     fi;
keep: atomic {
       if
#ifdef NO_TOUCH
       :: SERVES(me) -> l1[me] = value
#else
       :: SERVES(me) && clean[me] -> l1[me] = value
#endif
       :: else
       fi };
answer: atomic { assert(value >= need); if :: value > seen -> seen = value :: else fi;
       need = 0; value = 0; tok = 0; te = 0; fill = false; clean[me] = false }
  od
}

#define ACKED(m) (!member[m] || acked[m] >= my)
/* No lease of this member from before the block is left: what waiting L and its margin brings about. */
#define OVER(m) (!lease[m] || (leaseEpoch[m] == we && leaseSeq[m] >= my))
#define OLDOVER(m) (!lease[m] || leaseEpoch[m] == epoch)

/* Unlike any seq, and chosen once. */
#define NAME (100 + 10 * w + i)
#ifdef NO_CALM
#define CALM true
#else
#define CALM (gen == my)
#endif
#ifdef NO_FIRST_BLOCK
#define FIRST true
#else
#define FIRST first
#endif
#ifdef NO_OPEN_HAND_ON
#define WAS_OPEN true
#else
#define WAS_OPEN wasOpen
#endif

proctype Writer (byte w) {
  byte my, we, p, mine, i; bool confirmed, first, wasOpen;
#ifdef AFTER_RESTART
  if :: w == 0 -> first = true; wasOpen = true; we = 1; goto work :: else fi;
#endif
  do
  :: i < WRITES -> first = true;
block: atomic { we = epoch; wasOpen = open; if :: mine == 0 -> working[w] = true; workEpoch[w] = we :: else fi;
       held[w] = true; blocks++; publish(BLOCK); my = seq; gen = seq; confirmed = false };
#ifndef NO_ACK
     if
     :: atomic { we == epoch && open && EVERY(ACKED) }
     :: atomic { we == epoch && EVERY(OVER) ->
          minSeq = my; p = 0;
          do
          :: p < N ->
#ifdef NO_FENCE_CHECK
               if :: acked[p] < my -> member[p] = false :: else fi; p++
#else
               if :: acked[p] < my && renewed[p] < my -> member[p] = false :: else fi; p++
#endif
          :: p >= N -> break
          od; p = 0 }
     :: atomic { we != epoch -> goto block }
     fi;
#endif
work: atomic { if :: mine == 0 -> counter++; mine = counter; db = mine; working[w] = false; workEpoch[w] = 0 :: else fi };
     /* The value goes ahead of the release, under the name that only the release makes current. */
     atomic { if :: FIRST && WAS_OPEN -> sent[w] = mine; sentGen[w] = NAME; sentEpoch[w] = we :: else fi };
     atomic {
       if
       :: we == epoch && held[w] ->
            held[w] = false; blocks--; publish(RELEASE); confirmed = true;
#ifdef OWN
            if :: myEpoch[0] == epoch && lastSeq[0] >= my && lastSeq[0] < seq && blocked[0] > 0 -> blocked[0]--; clean[0] = false; ownSeq[w] = seq :: else fi;
#endif
            if :: FIRST && WAS_OPEN && CALM && blocks == 0 -> gen = NAME :: else -> gen = seq fi
#ifdef NO_REDO
       :: we != epoch || !held[w] -> confirmed = true
#else
       :: we != epoch || !held[w]
#endif
       fi };
     first = false;
     if :: !confirmed -> goto block :: else fi;
     atomic { if :: mine > resolved -> resolved = mine :: else fi; mine = 0; my = 0; we = 0; wasOpen = false; first = false; confirmed = false; i++ }
  :: i >= WRITES -> break
  od
}

#define DELIVER(w) :: atomic { sent[w] != 0 -> \
       if :: l2 = sent[w]; l2gen = sentGen[w]; l2epoch = sentEpoch[w] :: skip fi; \
       sent[w] = 0; sentGen[w] = 0; sentEpoch[w] = 0 }
/* A member takes the writer for dead. */
#define EXPIRY(w) :: atomic { !hasExpired && held[w] -> hasExpired = true; held[w] = false; blocks--; publish(RELEASE); gen = seq }

proctype Faults () {
  byte m, p;
  do
  :: atomic { restarts < RESTARTS ->                                    /* Redis restarts; cached values come back */
       restarts++; epoch++; seq = 0; blocks = 0; gen = 0; minSeq = 0; held[0] = false;
#if W > 1
       held[1] = false;
#endif
#ifdef NO_QUARANTINE
       open = true;
#else
       open = false;
#endif
       m = 0;
       do
       :: m < N -> member[m] = false; acked[m] = 0; renewed[m] = 0; echo[m] = false;
            do :: nempty(inbox[m]) -> inbox[m]?_, _, _ :: empty(inbox[m]) -> break od; m++
       :: m >= N -> m = 0; break
       od }
  /* A quarantine lets old leases and old database work end. */
  :: atomic { !open && EVERY(OLDOVER) && !OLDWORKS -> open = true }
  DELIVER(0)
#if W > 1
  DELIVER(1)
#endif
#ifdef EXPIRE
  EXPIRY(0)
#if W > 1
  EXPIRY(1)
#endif
#endif
  :: restarts >= RESTARTS && open -> break
  od
}

init {
  atomic {
    byte m = 0;
    do
    :: m < N -> member[m] = AT_FIRST; echo[m] = AT_FIRST; lease[m] = AT_FIRST; leaseEpoch[m] = 1; myEpoch[m] = 1; m++
    :: m >= N -> break
    od;
#ifdef AFTER_RESTART
    working[0] = true; workEpoch[0] = 1;
#endif
    m = 0;
    do :: m < N -> run Member(m); run Reader(m); m++ :: m >= N -> break od;
    run Writer(0);
#if W > 1
    run Writer(1);
#endif
    run Faults()
  }
}
