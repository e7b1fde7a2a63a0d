"""Live video: a camera in, a sharper camera out, for days.

The work is split over processes, so that nothing which hangs or dies takes the rest with it:

    reader ──> Mailbox ──> model ──> Mailbox ──> writer, one for each output
       └─────────────────> SoundRing ───────────────┘

The supervisor starts them, listens to what they tell and starts again what dies or falls silent.
What passes between them lies in shared memory, where the newest picture takes the place of the
ones before: nobody ever waits for anybody.
"""
