"""What applications may have on disks, kept by project quotas (quotactl(2)).

``messages``  what travels between this package and ``cloister-cell disk``
``helper``    starts that program, which alone asks the kernel
``mounts``    which file system a path is on
``places``    where an application can write to a disk
``offered``   whether a file system keeps such bounds, and what makes it do so
``projects``  remembers which application has which project
``bounds``    puts bounds into force, reads what is used, and takes bounds away
``passing``   the same for one command
"""
