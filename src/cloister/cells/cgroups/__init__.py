"""Control groups (cgroups(7)): found, made, limited, watched, read and removed.

``hierarchies``  where this process may make groups, of version 2, version 1 or both
``limits``       from an application's limits to the files of either version
``groups``       the groups of one supervisor
``app_group``    those of one application and of its cells
``placed``       those of applications that are to be in a group of the operator's
``counters``     what an application has used, and which limits it has met
``watch``        tells when a limit is met
"""
